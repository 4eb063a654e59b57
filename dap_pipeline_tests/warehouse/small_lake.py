"""A small lake for the tests of the warehouse: real Parquet files, published by the real lake."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import duckdb

from dap_pipeline.dap.models import TableName, VersionedSchema
from dap_pipeline.lake.columns import TableShape, shape_of
from dap_pipeline.lake.records import LoadKind, PublishedTable
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.sql import identifier
from dap_pipeline.lake.tables import Lake, NewLoad

COURSES = TableName("canvas", "courses")
WEB_LOGS = TableName("canvas_logs", "web_logs")
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)

_numbers = count(1)

INTEGER = {"type": "integer", "format": "int64"}
TEXT = {"type": "string", "maxLength": 255}
INSTANT = {"type": "string", "format": "date-time"}


def schema(
    value: dict[str, Any],
    *,
    key: dict[str, Any] | None = None,
    required: tuple[str, ...] = (),
    version: int = 1,
    title: str = "",
) -> VersionedSchema:
    """Write a schema in DAP's dialect."""
    return VersionedSchema(
        schema={
            "type": "object",
            "properties": {
                "meta": {"type": "object", "properties": {"ts": INSTANT}, "required": ["ts"]},
                "key": {"type": "object", "properties": key or {"id": INTEGER}},
                "value": {
                    "type": "object",
                    "properties": value,
                    "required": list(required),
                    **({"title": title} if title else {}),
                },
            },
        },
        version=version,
    )


def courses_schema() -> VersionedSchema:
    return schema(
        {
            "name": {**TEXT, "description": "The course's name, as in \"it's\"; not its code."},
            "start_at": INSTANT,
            "workflow_state": {"type": "string", "enum": ["available", "deleted"]},
            "settings": {"type": "object", "properties": {"public": {"type": "boolean"}}},
        },
        required=("name",),
        title="One row for each course.",
    )


def publish(
    lake: Lake,
    name: TableName,
    schema: VersionedSchema,
    rows: list[dict[str, str]],
    *,
    at: datetime = AT,
) -> PublishedTable:
    """Publish rows, given as SQL expressions by column; a column that is not given is NULL."""
    shape = shape_of(schema)
    before = lake.table(name)
    load = NewLoad(
        kind=LoadKind.SNAPSHOT,
        job_id=f"job-{next(_numbers)}",
        schema_version=schema.version,
        at=at,
        base_version=None if before is None else before.version,
    )
    folder = lake.root.parent / "written"
    folder.mkdir(parents=True, exist_ok=True)
    written = [write_parquet(folder / f"{load.job_id}.parquet", shape, rows)] if rows else []
    return lake.publish(name, shape, written, load)


def write_parquet(file: Path, shape: TableShape, rows: list[dict[str, str]]) -> WrittenFile:
    selects = [
        "SELECT "
        + ", ".join(
            f"CAST({row.get(c.name, 'NULL')} AS {c.duckdb_type}) AS {identifier(c.name)}"
            for c in shape.columns
        )
        for row in rows
    ]
    target = str(file).replace("'", "''")
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY ({' UNION ALL '.join(selects)}) TO '{target}' (FORMAT parquet)"
        ).fetchall()
    return WrittenFile(file, len(rows), file.stat().st_size, {}, {})


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """Ask the warehouse as a reader does."""
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'").fetchall()
        return connection.execute(sql).fetchall()
