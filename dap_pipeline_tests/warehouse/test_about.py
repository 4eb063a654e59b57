from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from dap_pipeline.lake.tables import Lake
from dap_pipeline.warehouse import about, build_warehouse

from .small_lake import AT, COURSES, WEB_LOGS, courses_schema, publish, query, schema

ROW = {"id": "1", "meta_ts": "now()"}
NEXT = AT + timedelta(hours=4)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def test_dap_tables_tells_what_is_there_how_fresh_and_from_which_job(
    lake: Lake, file: Path
) -> None:
    table = publish(lake, COURSES, courses_schema(), [ROW])
    publish(lake, WEB_LOGS, schema({}), [])
    build_warehouse(lake, file)
    assert query(
        file,
        "SELECT namespace, table_name, rows, bytes, files, as_of, committed_at, kind, job_id, "
        "schema_version, version, key, description FROM dap.tables ORDER BY ALL LIMIT 1",
    ) == [
        (
            "canvas",
            "courses",
            1,
            table.bytes,
            1,
            AT,
            table.load.committed_at,
            "snapshot",
            table.load.job_id,
            1,
            table.version,
            ["id"],
            "One row for each course.",
        )
    ]
    assert query(file, "SELECT rows, files FROM dap.tables WHERE namespace = 'canvas_logs'") == [
        (0, 0)
    ]


def test_dap_loads_tells_every_load_of_every_table(lake: Lake, file: Path) -> None:
    first = publish(lake, COURSES, courses_schema(), [ROW])
    second = publish(lake, COURSES, courses_schema(), [ROW, ROW | {"id": "2"}], at=NEXT)
    publish(lake, WEB_LOGS, schema({}), [])
    build_warehouse(lake, file)
    loads = "SELECT job_id, as_of, since, rows FROM dap.loads WHERE table_name = 'courses'"
    assert query(file, f"{loads} ORDER BY version") == [
        (first.load.job_id, AT, None, 1),
        (second.load.job_id, NEXT, None, 2),
    ]
    assert query(file, "SELECT count(*) FROM dap.loads") == [(3,)]


def test_dap_loads_tells_more_than_its_least_where_their_versions_can_be_read(
    lake: Lake, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(about, "LEAST_LOADS", 2)
    for number in range(4):
        publish(lake, COURSES, courses_schema(), [ROW], at=AT + number * timedelta(hours=4))
    build_warehouse(lake, file)
    assert query(file, "SELECT count(*), min(version) FROM dap.loads") == [(4, 0)]
    first = f"dap.files_as_of('canvas', 'courses', TIMESTAMPTZ '{AT}')"
    assert query(file, f"SELECT list_distinct({first})") == query(
        file, "SELECT list(file) FROM dap.files WHERE first_version = 0"
    )
    lake.vacuum(COURSES, timedelta())
    build_warehouse(lake, file)
    assert query(file, "SELECT count(*) FROM dap.loads") == [(2,)]


def test_what_a_restore_undid_is_told_and_not_the_state_of_an_instant(
    lake: Lake, file: Path
) -> None:
    publish(lake, COURSES, courses_schema(), [ROW])
    publish(lake, COURSES, courses_schema(), [ROW, ROW | {"id": "2"}], at=NEXT)
    lake.restore(COURSES, 0)
    build_warehouse(lake, file)
    told = "SELECT version, restored_from, undone_by FROM dap.loads ORDER BY version"
    assert query(file, told) == [(0, None, None), (1, None, 2), (2, 0, None)]
    files = f"dap.files_as_of('canvas', 'courses', TIMESTAMPTZ '{NEXT}')"
    restored = lake.table(COURSES)
    assert restored is not None
    assert query(file, f"SELECT {files}") == [(list(restored.files),)]


def test_dap_columns_tells_every_column(lake: Lake, file: Path) -> None:
    publish(lake, COURSES, courses_schema(), [ROW])
    build_warehouse(lake, file)
    found = query(
        file,
        "SELECT name, type, dap_type, key, required, description, members FROM dap.columns "
        "WHERE namespace = 'canvas' AND table_name = 'courses' ORDER BY position",
    )
    assert [row[0] for row in found] == [
        "id",
        "name",
        "start_at",
        "workflow_state",
        "settings",
        "meta_ts",
    ]
    by_name = {row[0]: row[1:] for row in found}
    assert by_name["id"] == ("BIGINT", "integer", True, True, "", [])
    assert by_name["name"] == (
        "VARCHAR",
        "text",
        False,
        True,
        "The course's name, as in \"it's\"; not its code.",
        [],
    )
    assert by_name["workflow_state"][-1] == ["available", "deleted"]
    assert by_name["settings"][0] == 'STRUCT("public" BOOLEAN)'


def test_the_tables_about_the_lake_are_described_themselves(lake: Lake, file: Path) -> None:
    build_warehouse(lake, file)
    undescribed = query(
        file,
        "SELECT table_name, column_name FROM duckdb_columns() "
        "WHERE schema_name = 'dap' AND comment IS NULL",
    )
    assert undescribed == []
