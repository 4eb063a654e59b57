"""The views of what loads changed: one for each table, and ``dap.changes`` over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.changes_table import EARLIER_KEY, changes_in, columns_of
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


def create_changes(
    connection: duckdb.DuckDBPyConnection,
    tables: Sequence[tuple[PublishedTable, Sequence[str]]],
) -> None:
    """Create the views; each table comes with the files of its changes, the newest first."""
    views = [_changes_of(table, files) for table, files in tables]
    for view in views:
        connection.execute(";\n".join([_view(view), *comments_of(view)]))
    with_rows = [
        _told(table, view) for (table, files), view in zip(tables, views, strict=True) if files
    ]
    empty = ", ".join(
        f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, (kind, _) in _COLUMNS.items()
    )
    query = "\nUNION ALL ".join(with_rows) or f"SELECT {empty} WHERE false"
    comments = [
        f"COMMENT ON COLUMN {_ALL}.{identifier(name)} IS {literal(text)}"
        for name, (_, text) in _COLUMNS.items()
    ]
    create = f"CREATE VIEW {_ALL} AS {query}"
    about = f"COMMENT ON VIEW {_ALL} IS {literal(_ABOUT_ALL)}"
    connection.execute(";\n".join([create, about, *comments]))


def _changes_of(table: PublishedTable, files: Sequence[str]) -> PublishedTable:
    name = TableName(schema_of(table.name.namespace), table.name.table)
    return replace(table, name=name, shape=columns_of(table.shape), files=tuple(files))


def _view(view: PublishedTable) -> str:
    create = f"CREATE VIEW {view_name(view)} AS"
    if view.files:
        return f"{create} {changes_in([Path(file) for file in view.files], view.shape)}"
    nothing = ", ".join(
        f"CAST(NULL AS {c.duckdb_type}) AS {identifier(c.name)}" for c in view.shape.columns
    )
    return f"{create} SELECT {nothing} WHERE false"


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
