"""The schema ``dap`` of the warehouse: what is there, how fresh, and from which jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.columns import Section
from dap_pipeline.lake.records import LoadRecord, PublishedTable
from dap_pipeline.lake.sql import identifier, literal, literals

SCHEMA = "dap"
_ROWS_AT_ONCE = 400

Value = None | bool | int | str | datetime | Sequence[str]
Row = tuple[Value, ...]


@dataclass(frozen=True)
class _Field:
    name: str
    type: str
    comment: str


_PLACE = (
    _Field("namespace", "VARCHAR NOT NULL", "Namespace of the table, which is its schema here."),
    _Field("table_name", "VARCHAR NOT NULL", "Name of the table."),
)
_LOAD = (
    _Field("version", "BIGINT NOT NULL", "Version of the table in the lake after the load."),
    _Field("kind", "VARCHAR NOT NULL", "What the load brought: snapshot or incremental."),
    _Field("job_id", "VARCHAR NOT NULL", "The DAP job that the load came from."),
    _Field("since", "TIMESTAMPTZ", "Where an incremental load began; NULL for a snapshot."),
    _Field("as_of", "TIMESTAMPTZ NOT NULL", "DAP's instant of the table's state after the load."),
    _Field("committed_at", "TIMESTAMPTZ NOT NULL", "When the load was published in the lake."),
    _Field("schema_version", "BIGINT NOT NULL", "Version of the table's DAP schema."),
    _Field("rows", "BIGINT NOT NULL", "Rows of the whole table after the load."),
)
_TABLES = (
    *_PLACE,
    *_LOAD,
    _Field("checked_at", "TIMESTAMPTZ NOT NULL", "When DAP last said that this is its state."),
    _Field("bytes", "BIGINT NOT NULL", "Bytes of the table's Parquet files."),
    _Field("files", "BIGINT NOT NULL", "Number of the table's Parquet files."),
    _Field("key", "VARCHAR[] NOT NULL", "Names of the key columns."),
    _Field("description", "VARCHAR NOT NULL", "What one row of the table is."),
)
_COLUMNS = (
    *_PLACE,
    _Field("position", "BIGINT NOT NULL", "Place of the column in the table, from 1."),
    _Field("name", "VARCHAR NOT NULL", "Name of the column."),
    _Field("type", "VARCHAR NOT NULL", "Type of the column in DuckDB."),
    _Field("dap_type", "VARCHAR NOT NULL", "What DAP's schema says that the column holds."),
    _Field("key", "BOOLEAN NOT NULL", "Whether the column is part of the table's key."),
    _Field("required", "BOOLEAN NOT NULL", "Whether DAP promises a value in every row."),
    _Field("description", "VARCHAR NOT NULL", "What the column holds, as far as it is described."),
    _Field("members", "VARCHAR[] NOT NULL", "The permitted values of an enumeration, else empty."),
)


def create_about(
    connection: duckdb.DuckDBPyConnection,
    tables: Sequence[PublishedTable],
    histories: Iterable[tuple[TableName, Sequence[LoadRecord]]],
) -> None:
    """Create and fill the tables ``dap.tables``, ``dap.loads`` and ``dap.columns``."""
    _fill(connection, "tables", "The published tables.", _TABLES, map(_table_row, tables))
    loads = [(*_place(name), *_load_row(load)) for name, history in histories for load in history]
    _fill(connection, "loads", "Every load that the lake remembers.", (*_PLACE, *_LOAD), loads)
    columns = [row for table in tables for row in _column_rows(table)]
    _fill(connection, "columns", "The columns of the published tables.", _COLUMNS, columns)


def _place(name: TableName) -> Row:
    return (name.namespace, name.table)


def _load_row(load: LoadRecord) -> Row:
    return (
        load.version,
        load.kind.value,
        load.job_id,
        load.since,
        load.at,
        load.committed_at,
        load.schema_version,
        load.rows,
    )


def _table_row(table: PublishedTable) -> Row:
    shape = table.shape
    about = (table.checked_at, table.bytes, len(table.files), list(shape.key), shape.description)
    return (*_place(table.name), *_load_row(table.load), *about)


def _column_rows(table: PublishedTable) -> list[Row]:
    return [
        (
            *_place(table.name),
            position,
            column.name,
            column.duckdb_type,
            column.kind.value,
            column.section is Section.KEY,
            column.required,
            column.description,
            [str(member) for member in column.members],
        )
        for position, column in enumerate(table.shape.columns, start=1)
    ]


def _fill(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    comment: str,
    fields: Sequence[_Field],
    rows: Iterable[Row],
) -> None:
    target = f"{SCHEMA}.{name}"
    columns = ", ".join(f"{identifier(field.name)} {field.type}" for field in fields)
    comments = [
        f"COMMENT ON COLUMN {target}.{identifier(field.name)} IS {literal(field.comment)}"
        for field in fields
    ]
    create = [
        f"CREATE TABLE {target} ({columns})",
        f"COMMENT ON TABLE {target} IS {literal(comment)}",
    ]
    connection.execute(";\n".join([*create, *comments]))
    _insert(connection, target, list(rows))


def _insert(connection: duckdb.DuckDBPyConnection, target: str, rows: Sequence[Row]) -> None:
    # Text, not parameters: DuckDB 1.5 looks for numpy and pandas anew for every parameter, which
    # takes most of a build. And many rows at once: executemany takes about 100 times as long.
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        values = ", ".join(
            f"({', '.join(map(_sql, row))})" for row in rows[start : start + _ROWS_AT_ONCE]
        )
        connection.execute(f"INSERT INTO {target} VALUES {values}")


def _sql(value: Value) -> str:
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(value)
        case str():
            return literal(value)
        case datetime():
            return f"TIMESTAMPTZ {literal(value.isoformat())}"
        case _:
            return literals(list(value))
