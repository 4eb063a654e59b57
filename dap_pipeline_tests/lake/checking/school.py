"""A small lake whose tables refer to each other, for the tests of the checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.checking.results import CheckName, CheckReport, CheckResult
from dap_pipeline.lake.checking.run import CheckRules, check_table
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.contract import Contracts
from dap_pipeline.lake.duck import RewriteOptions
from dap_pipeline.lake.places import Places
from dap_pipeline.lake.records import LoadKind, PublishedTable
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.sql import identifier, literal
from dap_pipeline.lake.tables import Lake, NewLoad
from dap_pipeline_tests.lake.making import INT64, STRING, object_of, shape

ENROLLMENTS = TableName("canvas", "enrollments")
USERS = TableName("canvas", "users")
TAGS = TableName("canvas", "content_tags")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG_AGO = "2026-01-01 00:00:00+00"
STATE = {"type": "string", "enum": ["active", "deleted", "__dap_unspecified__"]}
VALUES = {
    "user_id": INT64,
    "workflow_state": STATE,
    "note": STRING,
    "settings": object_of(public=STRING),
}
ENROLLMENT = shape(VALUES, required=["user_id"])
USER = shape({"name": STRING})

Row = Mapping[str, object]
_numbers = count(1)


def parquet(file: Path, table: TableShape, rows: Sequence[Row]) -> WrittenFile:
    """Write rows as they are, right or wrong; a column that is not given is NULL."""
    selects = [
        "SELECT "
        + ", ".join(
            f"CAST({_sql(row.get(c.name, LONG_AGO if c.name == 'meta_ts' else None))}"
            f" AS {c.duckdb_type}) AS {identifier(c.name)}"
            for c in table.columns
        )
        for row in rows
    ]
    with duckdb.connect() as connection:
        query = " UNION ALL ".join(selects)
        target = literal(str(file))
        connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet)").fetchall()
    return WrittenFile(file, len(rows), file.stat().st_size, {}, {})


def _sql(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {_sql(v)}" for k, v in value.items()) + "}"
    return literal(str(value))


def put(
    lake: Lake,
    name: TableName,
    table: TableShape,
    rows: Sequence[Row],
    *,
    files: int = 1,
    at: datetime = NOON,
) -> PublishedTable:
    """Publish rows as a snapshot, spread over so many files."""
    number = next(_numbers)
    before = lake.table(name)
    load = NewLoad(
        kind=LoadKind.SNAPSHOT,
        job_id=f"job-{number}",
        schema_version=table.schema_version,
        at=at,
        base_version=None if before is None else before.version,
    )
    folder = lake.root.parent / "made"
    folder.mkdir(parents=True, exist_ok=True)
    made = [
        parquet(folder / f"{number}-{part}.parquet", table, rows[part::files])
        for part in range(files)
        if rows[part::files]
    ]
    return lake.publish(name, table, made, load)


def rules(folder: Path, **more: Any) -> CheckRules:
    options = RewriteOptions("400MB", 2, folder / "spill")
    given: dict[str, Any] = {
        "contracts": Contracts(),
        "row_change_warn": 0.5,
        "may_be_empty": Places(),
        "reference_rows": 100_000,
        **more,
    }
    return CheckRules(options=options, **given)


def check(lake: Lake, name: TableName = ENROLLMENTS, **more: Any) -> CheckReport:
    report = check_table(lake, name, rules(lake.root.parent, **more))
    if report is None:
        pytest.fail(f"{name} is not in the lake")
    return report


def result_of(report: CheckReport, name: CheckName) -> CheckResult:
    return next(result for result in report.results if result.name is name)


def told(result: CheckResult) -> list[str]:
    return [str(detail) for detail in result.details]


def good_rows(many: int = 4) -> list[Row]:
    return [
        {
            "id": number,
            "user_id": 1 + number % 2,
            "workflow_state": "active",
            "note": "a note",
            "settings": {"public": "yes"},
        }
        for number in range(1, many + 1)
    ]


def users(*ids: int) -> list[Row]:
    return [{"id": number, "name": f"Person {number}"} for number in ids]
