from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.columns import shape_of
from dap_pipeline.lake.tables import Lake
from dap_pipeline.warehouse import build_warehouse

from .small_lake import AT, COURSES, INTEGER, TEXT, courses_schema, publish, query, schema

ODD_NAMES = ("select", "table", "order", "Group", "two words", 'a"quote', "it's", "at", "ünïcode")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    # A path that would break unquoted SQL or a naive glob.
    return Lake(tmp_path / "it's [1] lake*" / "lake")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def columns_of(file: Path, view: str) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind, *_ in query(file, f"DESCRIBE {view}")]


def test_a_view_has_the_columns_and_types_of_the_schema(lake: Lake, file: Path) -> None:
    row = {"id": "1", "start_at": "TIMESTAMPTZ '2026-01-02 03:04:05.678901Z'", "meta_ts": "now()"}
    publish(lake, COURSES, courses_schema(), [row])
    build_warehouse(lake, file)
    shape = shape_of(courses_schema())
    found = columns_of(file, "canvas.courses")
    assert [name for name, _ in found] == [column.name for column in shape.columns]
    types = dict(found)
    assert types["id"] == "BIGINT"
    assert types["start_at"] == types["meta_ts"] == "TIMESTAMP WITH TIME ZONE"
    assert query(file, "SELECT start_at FROM canvas.courses") == [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),)
    ]


@pytest.mark.slow
def test_every_table_of_the_catalogue_has_its_columns_even_without_files(
    lake: Lake, file: Path
) -> None:
    tables = load_catalogue().tables
    for table in tables:
        publish(lake, table.name, table.schema, [])
    build_warehouse(lake, file)
    found = query(
        file,
        "SELECT schema_name, table_name, list(column_name ORDER BY column_index) "
        "FROM duckdb_columns() WHERE schema_name <> 'dap' AND NOT internal"
        " AND NOT ends_with(schema_name, '_changes') GROUP BY ALL",
    )
    assert {(ns, table): tuple(names) for ns, table, names in found} == {
        (t.name.namespace, t.name.table): tuple(c.name for c in shape_of(t.schema).columns)
        for t in tables
    }


def test_a_table_without_files_is_an_empty_typed_view(lake: Lake, file: Path) -> None:
    publish(lake, COURSES, courses_schema(), [])
    build_warehouse(lake, file)
    assert query(file, "SELECT * FROM canvas.courses") == []
    types = dict(columns_of(file, "canvas.courses"))
    assert types["id"] == "BIGINT"
    assert types["meta_ts"] == "TIMESTAMP WITH TIME ZONE"


def test_names_that_sql_reserves_or_that_hold_quotes_work(lake: Lake, file: Path) -> None:
    name = TableName("select", "order")
    value = {column: {**TEXT, "description": 'It\'s "odd"; -- really'} for column in ODD_NAMES}
    publish(lake, name, schema(value), [{"id": "1", "it's": "'x'", "meta_ts": "now()"}])
    build_warehouse(lake, file)
    assert query(file, 'SELECT "it\'s" FROM "select"."order"') == [("x",)]
    found = [column for column, _ in columns_of(file, '"select"."order"')]
    assert found == ["id", *ODD_NAMES, "meta_ts"]


def test_views_and_columns_carry_their_descriptions(lake: Lake, file: Path) -> None:
    publish(lake, COURSES, courses_schema(), [{"id": "1", "meta_ts": "now()"}])
    build_warehouse(lake, file)
    views = "SELECT comment FROM duckdb_views() WHERE schema_name = 'canvas'"
    assert query(file, views) == [("One row for each course.",)]
    comments = dict(
        query(
            file, "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'courses'"
        )
    )
    assert comments["name"] == "The course's name, as in \"it's\"; not its code."
    assert comments["workflow_state"] == "One of: available, deleted."
    assert comments["start_at"] is None


def test_a_column_that_a_new_schema_version_adds_is_there(lake: Lake, file: Path) -> None:
    publish(lake, COURSES, schema({"name": TEXT}), [{"id": "1", "meta_ts": "now()"}])
    grown = schema({"name": TEXT, "credits": INTEGER}, version=2)
    later = AT + timedelta(hours=4)
    publish(lake, COURSES, grown, [{"id": "1", "credits": "6", "meta_ts": "now()"}], at=later)
    build_warehouse(lake, file)
    assert query(file, "SELECT id, name, credits FROM canvas.courses") == [(1, None, 6)]


def test_a_filter_reaches_the_files(lake: Lake, file: Path) -> None:
    rows = [{"id": str(number), "meta_ts": "now()"} for number in (1, 9)]
    publish(lake, COURSES, courses_schema(), rows)
    build_warehouse(lake, file)
    [(_, plan)] = query(file, "EXPLAIN SELECT name FROM canvas.courses WHERE id = 7")
    assert "CAST" not in plan
    assert "Filters" in plan
