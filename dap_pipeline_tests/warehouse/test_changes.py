"""The warehouse tells what increments changed, and leads to earlier versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.engine import Engine
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.warehouse.build import build_warehouse
from dap_pipeline_tests.lake.following import USERS, Follower, settings_for
from dap_pipeline_tests.sandbox import small_school

from .small_lake import query


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Follower]:
    folder = tmp_path_factory.mktemp("school")
    config = SandboxConfig(folder / "sandbox", rate_limits=False, rows_per_part=25)
    with (
        small_school.running(config) as sandbox,
        Engine.open(settings_for(sandbox, folder)) as engine,
    ):
        found = Follower(sandbox, engine)
        found.load()
        for what in ("insert", "update", "delete"):
            found.change(what, 2)
            found.load()
        yield found


@pytest.fixture(scope="module")
def warehouse(follower: Follower) -> Path:
    """The file as it was built before any test loaded more."""
    return build_warehouse(follower.engine.lake, follower.engine.settings.warehouse_file).file


def test_dap_changes_tells_every_change_with_its_load(warehouse: Path, follower: Follower) -> None:
    counted = query(
        warehouse,
        "SELECT namespace, table_name, version, change, count(*) FROM dap.changes"
        " GROUP BY ALL ORDER BY ALL",
    )
    assert counted == [
        ("canvas", "users", 1, "insert", 2),
        ("canvas", "users", 2, "update", 2),
        ("canvas", "users", 3, "delete", 2),
    ]
    joined = "SELECT count(*) FROM dap.changes JOIN dap.loads USING (table_name, version, job_id)"
    assert query(warehouse, joined) == [(6,)]
    keys = query(warehouse, "SELECT key FROM dap.changes WHERE change = 'insert'")
    assert all(json.loads(key)["id"] > 60 for (key,) in keys)
    newest = query(warehouse, "SELECT max(meta_ts) FROM dap.changes")
    assert newest == [(follower.table().load.at,)]


def test_the_changes_of_a_table_have_a_view_with_its_key(warehouse: Path) -> None:
    rows = query(
        warehouse,
        "SELECT id FROM canvas_changes.users c JOIN canvas.users USING (id) WHERE load_version = 1",
    )
    assert len(rows) == 2
    comments = query(
        warehouse,
        "SELECT column_name, comment FROM duckdb_columns()"
        " WHERE schema_name IN ('canvas_changes', 'dap') AND table_name IN ('users', 'changes')",
    )
    assert all(comment for name, comment in comments if name != "id")


@pytest.mark.usefixtures("warehouse")
def test_a_table_without_increments_has_an_empty_view_of_changes(
    follower: Follower, tmp_path: Path
) -> None:
    follower.load(name=TableName("canvas", "everything"))
    file = build_warehouse(follower.engine.lake, tmp_path / "other.duckdb").file
    assert query(file, "FROM canvas_changes.everything") == []
    assert query(file, "SELECT DISTINCT table_name FROM dap.changes") == [("users",)]


def test_dap_loads_tells_counts_and_modes(warehouse: Path) -> None:
    assert query(
        warehouse,
        "SELECT version, kind, mode, reason, inserted, updated, deleted, unchanged"
        " FROM dap.loads ORDER BY version",
    ) == [
        (0, "snapshot", "auto", "the table was not in the lake yet", 60, 0, 0, 0),
        (1, "incremental", "auto", "", 2, 0, 0, 0),
        (2, "incremental", "auto", "", 0, 2, 0, 0),
        (3, "incremental", "auto", "", 0, 0, 2, 0),
    ]


def test_the_macro_gives_the_files_of_an_instant(warehouse: Path, follower: Follower) -> None:
    lake = follower.engine.lake
    for load in lake.history(USERS):
        instant = (load.at + timedelta(minutes=1)).isoformat()
        (found,) = query(
            warehouse, f"SELECT dap.files_as_of('canvas', 'users', TIMESTAMPTZ '{instant}')"
        )[0]
        assert found == list(lake.as_of(USERS, load.version).files)
    nothing = "SELECT dap.files_as_of('canvas', 'users', TIMESTAMPTZ '2001-01-01 00:00:00+00')"
    assert query(warehouse, nothing) == [(None,)]
