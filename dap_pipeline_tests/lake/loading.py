"""Publishes small made-up loads for the tests of the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.records import LoadKind, PublishedTable
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.tables import Lake, NewLoad

from .making import STRING, rewritten, rows_of, shape, write_jsonl

NAME = TableName("canvas", "courses")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SHAPE = shape({"a": {**STRING, "description": "What it is."}}, title="One row per course.")


def new_load(job: str, base: int | None = None, **more: Any) -> NewLoad:
    fields: dict[str, Any] = {"kind": LoadKind.SNAPSHOT, "schema_version": 1, "at": NOON, **more}
    return NewLoad(job_id=job, base_version=base, **fields)


def made_file(
    folder: Path, values: Sequence[Mapping[str, Any]], table: TableShape = SHAPE
) -> WrittenFile:
    """Write one tidy file into a new folder below the one given."""
    home = folder / f"made-{len(list(folder.iterdir()))}"
    home.mkdir()
    part = write_jsonl(home / "p.jsonl.gz", rows_of(values))
    return rewritten([part], table, home)


def publish(
    lake: Lake,
    folder: Path,
    job: str,
    values: Sequence[Mapping[str, Any]],
    *,
    name: TableName = NAME,
    table: TableShape = SHAPE,
    **more: Any,
) -> PublishedTable:
    """Publish rows on top of whatever is published."""
    before = lake.table(name)
    load = new_load(job, None if before is None else before.version, **more)
    return lake.publish(name, table, [made_file(folder, values, table)], load)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)
