"""What a table holds, as the service itself knows it: the judge of every copy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dap_pipeline.sandbox.dialect import Field, quoted
from dap_pipeline.sandbox.selections import LOG_NAMESPACE, LOG_RETENTION
from dap_pipeline.sandbox.store import Store, StoredTable, naive


@dataclass(frozen=True)
class Truth:
    """The live rows of a table at its newest commit, by key; instants are UTC wall times.

    Each row has the values of `fields` in their order, then the time of its commit.
    """

    at: datetime
    version: int
    key: tuple[Field, ...]
    fields: tuple[Field, ...]
    rows: dict[tuple[Any, ...], tuple[Any, ...]]


def truth_of(store: Store, namespace: str, name: str) -> Truth:
    """Read what a snapshot would have to bring now.

    Only the newest state is known: whoever wants an earlier one keeps its Truth. The rows of
    `canvas_logs` are those that DAP has not dropped yet, each key once.

    Raises:
        LookupError: there is no such table.
    """
    with store.steady_cursor() as cursor:
        table = store.table(namespace, name, cursor)
        at = store.committed_at(namespace, name, cursor)
        if table is None or at is None:
            raise LookupError(f"The service has no table {namespace}.{name}.")
        oldest = None
        if namespace == LOG_NAMESPACE:
            oldest = (store.school_committed_at(cursor) or at) - LOG_RETENTION
        rows = cursor.execute(_query(table, oldest)).fetchall()
    keys = len(table.fields.key)
    found = {row[:keys]: row for row in rows}
    return Truth(at, table.version, table.fields.key, table.fields.all, found)


def _query(table: StoredTable, oldest: datetime | None) -> str:
    """Select the live rows; of rows with one key the newest comes last, and so stays."""
    names = ", ".join(quoted(field.name) for field in table.fields.all)
    kept = "" if oldest is None else f" AND meta_ts >= TIMESTAMP '{naive(oldest)}'"
    return (
        f"SELECT {names}, meta_ts FROM {table.sql_name}"
        f" WHERE meta_action <> 'D'{kept} ORDER BY meta_ts"
    )
