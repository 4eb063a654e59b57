"""The views of what loads changed: one for each table, and ``dap.changes`` over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.changes_table import EARLIER_KEY, changes_in, columns_of
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.sql import identifier, literal
from dap_pipeline.warehouse.views import comments_of, view_name

SUFFIX = "_changes"
"""Ends the name of the schema that has the changes of a namespace's tables."""

_ALL = "dap.changes"
_ABOUT_ALL = "What loads inserted, updated and deleted in all tables, by key."
_COLUMNS = {
    "namespace": ("VARCHAR", "Namespace of the table, which is its schema here."),
    "table_name": ("VARCHAR", "Name of the table."),
    "key": ("VARCHAR", "The key columns as JSON, those that the table had then."),
    "change": ("VARCHAR", "What happened to the key: insert, update or delete."),
    "meta_ts": ("TIMESTAMPTZ", "When the record was committed to DAP's lake."),
    "version": ("BIGINT", "Version of the table in the lake that the change came with."),
    "job_id": ("VARCHAR", "The DAP job that the change came from."),
}


def schema_of(namespace: str) -> str:
    """Name the schema that has the changes of a namespace's tables."""
    return f"{namespace}{SUFFIX}"


@dataclass(frozen=True)
class ChangesView:
    """The view of one table's changes."""

    table: PublishedTable
    view: PublishedTable
    """Name, columns and files of the view."""
    query: str
    """What the view stands for."""


def changes_view(table: PublishedTable, files: Sequence[str]) -> ChangesView:
    """Write the view of a table's changes.

    Args:
        table: the table.
        files: the files of its changes, the newest first.

    Raises:
        LakeError: they cannot be read.
    """
    name = TableName(schema_of(table.name.namespace), table.name.table)
    shape = columns_of(table.shape)
    query = changes_in([Path(file) for file in files], shape) if files else _nothing(shape)
    return ChangesView(table, replace(table, name=name, shape=shape, files=tuple(files)), query)


def create_changes(
    connection: duckdb.DuckDBPyConnection,
    views: Sequence[ChangesView],
    left_out: Sequence[TableName] = (),
) -> None:
    """Create the views, and say with the one over all of which tables it does not tell."""
    for each in views:
        create = f"CREATE VIEW {view_name(each.view)} AS {each.query}"
        connection.execute(";\n".join([create, *comments_of(each.view)]))
    empty = ", ".join(
        f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, (kind, _) in _COLUMNS.items()
    )
    with_rows = [_told(each.table, each.view) for each in views if each.view.files]
    query = "\nUNION ALL ".join(with_rows) or f"SELECT {empty} WHERE false"
    comments = [
        f"COMMENT ON COLUMN {_ALL}.{identifier(name)} IS {literal(text)}"
        for name, (_, text) in _COLUMNS.items()
    ]
    create = f"CREATE VIEW {_ALL} AS {query}"
    about = f"COMMENT ON VIEW {_ALL} IS {literal(_about_all(left_out))}"
    connection.execute(";\n".join([create, about, *comments]))


def _about_all(left_out: Sequence[TableName]) -> str:
    if not left_out:
        return _ABOUT_ALL
    names = ", ".join(map(str, left_out))
    return f"{_ABOUT_ALL} Not those of {names}, which cannot be read."


def _nothing(shape: TableShape) -> str:
    columns = (f"CAST(NULL AS {c.duckdb_type}) AS {identifier(c.name)}" for c in shape.columns)
    return f"SELECT {', '.join(columns)} WHERE false"


def _told(table: PublishedTable, view: PublishedTable) -> str:
    key = ", ".join(f"{identifier(name)} := {identifier(name)}" for name in table.shape.key)
    values = (
        literal(table.name.namespace),
        literal(table.name.table),
        f"coalesce({EARLIER_KEY.name}, CAST(to_json(struct_pack({key})) AS VARCHAR))",
        "change",
        "meta_ts",
        "load_version",
        "load_job_id",
    )
    named = (f"{value} AS {identifier(n)}" for value, n in zip(values, _COLUMNS, strict=True))
    return f"SELECT {', '.join(named)} FROM {view_name(view)}"
