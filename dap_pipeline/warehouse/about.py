"""The schema ``dap`` of the warehouse: what is there, how fresh, and from which jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.columns import Section
from dap_pipeline.lake.freshness import FreshnessRules, freshness_of
from dap_pipeline.lake.past import Past
from dap_pipeline.lake.records import LoadRecord, PublishedTable
from dap_pipeline.lake.references import targets_of
from dap_pipeline.lake.sql import identifier, literal

SCHEMA = "dap"
LEAST_LOADS = 60
"""Loads of a table that are told of, however long versions are kept: ten days of increments."""

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
    _Field("mode", "VARCHAR NOT NULL", "What was asked for: snapshot, incremental or auto."),
    _Field("reason", "VARCHAR NOT NULL", "Why it was a snapshot though changes were asked for."),
    _Field("inserted", "BIGINT", "Keys that are new; NULL where the key changed."),
    _Field("updated", "BIGINT", "Keys whose row changed."),
    _Field("deleted", "BIGINT", "Keys that are gone."),
    _Field("unchanged", "BIGINT", "Records that changed nothing, as they were there already."),
    _Field("schema_changes", "VARCHAR[] NOT NULL", "What about the columns changed with the load."),
    _Field("lost_from", "TIMESTAMPTZ", "From when DAP had dropped rows before they were loaded."),
    _Field("lost_to", "TIMESTAMPTZ", "Up to when such rows may be lost."),
    _Field("restored_from", "BIGINT", "The version that was brought back, else NULL."),
)
_LOADS = (
    *_PLACE,
    *_LOAD,
    _Field("undone_by", "BIGINT", "The version that a later restore made; NULL if none undid it."),
)
_STATE = _Field("as_of", "TIMESTAMPTZ NOT NULL", "DAP's instant up to which this is its state.")
_TABLES = (
    *_PLACE,
    *(_STATE if field.name == _STATE.name else field for field in _LOAD),
    _Field("checked_at", "TIMESTAMPTZ NOT NULL", "When DAP last said that this is its state."),
    _Field("stale_at", "TIMESTAMPTZ NOT NULL", "From when on it is stale, unless checked again."),
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
    _Field("refers_to", "VARCHAR[] NOT NULL", "The columns that it may refer to, else empty."),
    _Field("masked", "VARCHAR", "How the settings mask it: hash or null; NULL where they do not."),
)

_FILES = (
    *_PLACE,
    _Field("file", "VARCHAR NOT NULL", "Path of the Parquet file."),
    _Field("first_version", "BIGINT NOT NULL", "First version of the table that has the file."),
    _Field("last_version", "BIGINT NOT NULL", "Last version of the table that has the file."),
)
_FILES_AS_OF = f"""
CREATE MACRO {SCHEMA}.files_as_of(of_namespace, of_table, instant) AS (
    SELECT list(file ORDER BY file) FROM {SCHEMA}.files
    WHERE namespace = of_namespace AND table_name = of_table AND (
        SELECT arg_max(version, (as_of, version)) FROM {SCHEMA}.loads
        WHERE namespace = of_namespace AND table_name = of_table
          AND as_of <= CAST(instant AS TIMESTAMPTZ) AND undone_by IS NULL
    ) BETWEEN first_version AND last_version
)
"""


def create_about(
    connection: duckdb.DuckDBPyConnection,
    pasts: Sequence[tuple[PublishedTable, Past]],
    freshness: FreshnessRules,
) -> None:
    """Create and fill the tables of the schema, and the macro that leads into the past."""
    tables = [table for table, _ in pasts]
    rows = _table_rows(tables, freshness)
    _fill(connection, "tables", "The published tables.", _TABLES, rows)
    loads = [
        (*_place(table.name), *_load_row(load), past.undone.get(load.version))
        for table, past in pasts
        for load in past.loads
    ]
    about = f"The last {LEAST_LOADS} loads of each table, and all whose version can be read."
    _fill(connection, "loads", about, _LOADS, loads)
    files = [
        (*_place(table.name), str(span.path), span.first_version, span.last_version)
        for table, past in pasts
        for span in past.spans
    ]
    _fill(connection, "files", "The files of each version that can be read.", _FILES, files)
    connection.execute(_FILES_AS_OF)
    columns = [row for table in tables for row in _column_rows(table)]
    _fill(connection, "columns", "The columns of the published tables.", _COLUMNS, columns)


def tell_freshness_anew(
    connection: duckdb.DuckDBPyConnection,
    tables: Sequence[PublishedTable],
    freshness: FreshnessRules,
) -> None:
    """Write how fresh the tables are where all else is told already."""
    connection.execute(f"DELETE FROM {SCHEMA}.tables")
    _insert(connection, f"{SCHEMA}.tables", _TABLES, _table_rows(tables, freshness))


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
        load.mode.value,
        load.reason,
        *_counts(load),
        [str(change) for change in load.schema_changes],
        None if load.gap is None else load.gap.since,
        None if load.gap is None else load.gap.until,
        load.restored_from,
    )


def _counts(load: LoadRecord) -> Row:
    counts = load.counts
    if counts is None:
        return (None, None, None, None)
    return (counts.inserted, counts.updated, counts.deleted, counts.unchanged)


def _table_rows(tables: Sequence[PublishedTable], freshness: FreshnessRules) -> list[Row]:
    return [_table_row(table, freshness) for table in tables]


def _table_row(table: PublishedTable, freshness: FreshnessRules) -> Row:
    shape = table.shape
    fresh = freshness_of(table, freshness)
    about = (table.bytes, len(table.files), list(shape.key), shape.description)
    checked = (fresh.checked_at, fresh.stale_at)
    load = replace(table.load, at=table.watermark)
    return (*_place(table.name), *_load_row(load), *checked, *about)


def _column_rows(table: PublishedTable) -> list[Row]:
    targets = targets_of(table.name)
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
            [f"{target.table}.{target.column}" for target in targets.get(column.name, ())],
            None if column.masked is None else column.masked.value,
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
    _insert(connection, target, fields, list(rows))


def _insert(
    connection: duckdb.DuckDBPyConnection, target: str, fields: Sequence[_Field], rows: list[Row]
) -> None:
    # As a whole, since values one by one take most of a build; and as JSON, since for a table of
    # Arrow's DuckDB would import what takes pyarrow a twentieth of a second.
    names = [field.name for field in fields]
    told = json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=_iso)
    types = json.dumps([{field.name: field.type.removesuffix(" NOT NULL") for field in fields}])
    query = f"SELECT unnest(from_json(?, {literal(types)}), recursive := true)"
    connection.execute(f"INSERT INTO {target} {query}", [told])


def _iso(value: datetime | Sequence[str]) -> str | list[str]:
    return value.isoformat() if isinstance(value, datetime) else list(value)
