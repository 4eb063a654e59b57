"""What cannot be read of the lake is left out and told, and holds nothing else up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.tables import Lake
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.warehouse import build_warehouse
from dap_pipeline_tests.lake.following import USERS, Follower, settings_for

from .small_lake import COURSES, courses_schema, publish, query

ACCOUNTS = TableName("canvas", "accounts")
ROW = {"id": "1", "name": "'Algebra'", "meta_ts": "TIMESTAMPTZ '2026-11-23 10:00:00Z'"}

Harm = Callable[[Path], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake of two tables, of which the courses have a log that is long enough to be summed up."""
    lake = Lake(tmp_path / "lake")
    publish(lake, ACCOUNTS, courses_schema(), [ROW])
    for _ in range(12):
        publish(lake, COURSES, courses_schema(), [ROW])
    return lake


def the_log_is_nonsense(folder: Path) -> None:
    newest = max((folder / "_delta_log").glob("*.json"))
    newest.write_text("nonsense")


def the_log_tells_of_no_instant(folder: Path) -> None:
    newest = max((folder / "_delta_log").glob("*.json"))
    told = newest.read_text()
    newest.write_text(re.sub(r'"at":"[^"]*"', '"at":null', told))
    assert newest.read_text() != told


def an_old_commit_is_no_text(folder: Path) -> None:
    (folder / "_delta_log" / f"{3:020}.json").write_bytes(b'{"commitInfo":\xff}')


def the_files_are_gone(folder: Path) -> None:
    for file in folder.glob("*.parquet"):
        file.unlink()


def the_files_are_no_parquet(folder: Path) -> None:
    for file in folder.glob("*.parquet"):
        file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize(
    ("harm", "advice"),
    [
        (the_log_is_nonsense, "move it away and load the table anew."),
        (the_log_tells_of_no_instant, "move it away and load the table anew."),
        (an_old_commit_is_no_text, "move it away and load the table anew."),
        (the_files_are_gone, "`dap-pipeline load --namespace canvas --table courses --mode auto`."),
        (the_files_are_no_parquet, "--table courses --mode auto`."),
    ],
)
def test_a_table_that_cannot_be_read_is_left_out_and_told(
    lake: Lake, file: Path, harm: Harm, advice: str
) -> None:
    harm(lake.folder(COURSES))
    report = build_warehouse(lake, file)
    assert [str(registered.name) for registered in report.tables] == ["canvas.accounts"]
    assert query(file, "SELECT name FROM canvas.accounts") == [("Algebra",)]
    (left_out,) = report.left_out
    assert (left_out.name, left_out.only_changes) == (COURSES, False)
    assert str(left_out).startswith("canvas.courses is not in the warehouse: ")
    assert str(lake.folder(COURSES)) in str(left_out)
    assert str(left_out).endswith(advice)
    assert len(str(left_out).splitlines()) == 1
    for view in ("canvas.courses", "canvas_changes.courses"):
        with pytest.raises(duckdb.CatalogException, match="does not exist"):
            query(file, f"FROM {view}")


def test_a_table_is_registered_again_once_it_can_be_read(lake: Lake, file: Path) -> None:
    away = lake.root / "away"
    lake.folder(COURSES).rename(away)
    lake.folder(COURSES).joinpath("_delta_log").mkdir(parents=True)
    (lake.folder(COURSES) / "_delta_log" / f"{0:020}.json").write_text("nonsense")
    assert [left.name for left in build_warehouse(lake, file).left_out] == [COURSES]
    (lake.folder(COURSES) / "_delta_log" / f"{0:020}.json").unlink()
    (lake.folder(COURSES) / "_delta_log").rmdir()
    lake.folder(COURSES).rmdir()
    away.rename(lake.folder(COURSES))
    report = build_warehouse(lake, file)
    assert (len(report.tables), report.left_out) == (2, ())


def test_a_lake_of_which_nothing_can_be_read_leaves_the_old_file(lake: Lake, file: Path) -> None:
    build_warehouse(lake, file)
    before = file.read_bytes()
    for name in (ACCOUNTS, COURSES):
        the_log_is_nonsense(lake.folder(name))
    with pytest.raises(LakeError, match=r"canvas\.accounts: .*cannot be read as a table"):
        build_warehouse(lake, file)
    assert file.read_bytes() == before


@pytest.fixture
def follower(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Follower]:
    """Two tables, both with changes."""
    with Engine.open(settings_for(sandbox, tmp_path)) as engine:
        found = Follower(sandbox, engine)
        found.load()
        found.change("insert", 2)
        found.load()
        publish(engine.lake, ACCOUNTS, courses_schema(), [ROW])
        yield found


@pytest.mark.parametrize(
    "harm", [the_log_is_nonsense, the_files_are_gone, the_files_are_no_parquet]
)
def test_changes_that_cannot_be_read_are_left_out_and_not_shown_as_none(
    follower: Follower, file: Path, harm: Harm
) -> None:
    lake = follower.engine.lake
    aside = lake.folder(USERS) / "_changes"
    harm(aside)
    report = build_warehouse(lake, file)
    assert [str(registered.name) for registered in report.tables] == [
        "canvas.accounts",
        "canvas.users",
    ]
    (left_out,) = report.left_out
    assert (left_out.name, left_out.only_changes) == (USERS, True)
    assert str(left_out).startswith(
        f"canvas.users is in the warehouse without its changes: the changes in {aside} cannot be"
    )
    assert "move this folder away: the table itself is whole" in str(left_out)
    assert len(str(left_out).splitlines()) == 1
    assert query(file, "SELECT count(*) FROM canvas.users") == [(follower.table().rows,)]
    with pytest.raises(duckdb.CatalogException, match="does not exist"):
        query(file, "FROM canvas_changes.users")
    assert query(file, "FROM canvas_changes.accounts") == []
    assert query(file, "FROM dap.changes") == []
    about = "SELECT comment FROM duckdb_views() WHERE schema_name = 'dap' AND view_name = 'changes'"
    ((comment,),) = query(file, about)
    assert comment.endswith("Not those of canvas.users, which cannot be read.")


def test_changes_are_told_again_once_their_folder_was_moved_away(
    follower: Follower, file: Path
) -> None:
    lake = follower.engine.lake
    aside = lake.folder(USERS) / "_changes"
    the_log_is_nonsense(aside)
    aside.rename(lake.root.parent / "harmed")
    follower.change("delete", 3)
    follower.load()
    assert build_warehouse(lake, file).left_out == ()
    told = "SELECT table_name, change, count(*) FROM dap.changes GROUP BY ALL"
    assert query(file, told) == [("users", "delete", 3)]
