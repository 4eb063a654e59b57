"""A warehouse of which only the freshness has changed is copied, and all else is built anew."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.freshness import FreshnessRules
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.tables import Lake
from dap_pipeline.warehouse import build, build_warehouse, built
from dap_pipeline.warehouse.views import create_view

from .small_lake import COURSES, courses_schema, publish, query

ALGEBRA = {"id": "1", "name": "'Algebra'", "meta_ts": "TIMESTAMPTZ '2026-11-23 10:00:00Z'"}
BIOLOGY = {"id": "2", "name": "'Biology'", "meta_ts": "TIMESTAMPTZ '2026-11-23 11:00:00Z'"}
OTHERS = TableName("canvas", "others")
HOUR = timedelta(hours=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    publish(lake, COURSES, courses_schema(), [ALGEBRA])
    return lake


@pytest.fixture
def file(lake: Lake, tmp_path: Path) -> Path:
    return build_warehouse(lake, tmp_path / "warehouse.duckdb").file


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lists the views that are created."""
    created: list[str] = []

    def counting(
        connection: duckdb.DuckDBPyConnection, table: PublishedTable, stored: Mapping[str, str]
    ) -> None:
        created.append(str(table.name))
        create_view(connection, table, stored)

    monkeypatch.setattr(build, "create_view", counting)
    return created


def test_nothing_is_built_anew_where_nothing_changed(
    lake: Lake, file: Path, views: list[str]
) -> None:
    build_warehouse(lake, file)
    build_warehouse(lake, file)
    assert views == []
    assert query(file, "SELECT name FROM canvas.courses") == [("Algebra",)]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.with_name(f"{file.name}.built").stat().st_mode) == 0o600


def test_a_copy_tells_how_fresh_the_tables_are_now(
    lake: Lake, file: Path, views: list[str]
) -> None:
    table = lake.table(COURSES)
    assert table is not None
    until = table.watermark + HOUR
    checked = lake.confirm(table, until).checked_at
    build_warehouse(lake, file, freshness=FreshnessRules(2 * HOUR))
    assert views == []
    told = query(file, "SELECT as_of, checked_at, stale_at, table_name FROM dap.tables")
    assert told == [(until, checked, checked + 2 * HOUR, "courses")]


def test_who_has_the_file_open_does_not_see_the_copy(lake: Lake, file: Path) -> None:
    table = lake.table(COURSES)
    assert table is not None
    with duckdb.connect(str(file), read_only=True) as reader:
        lake.confirm(table, table.watermark + HOUR)
        build_warehouse(lake, file)
        assert reader.execute("SELECT as_of FROM dap.tables").fetchall() == [(table.watermark,)]


def test_what_could_not_be_read_is_looked_for_again(
    lake: Lake, file: Path, views: list[str]
) -> None:
    (published,) = lake.tables()
    publish(lake, OTHERS, courses_schema(), [BIOLOGY])
    parquet = Path(published.files[0])
    parquet.rename(parquet.with_suffix(".away"))
    for _ in range(2):
        report = build_warehouse(lake, file)
        assert [str(each.name) for each in report.left_out] == ["canvas.courses"]
    assert views == ["canvas.others", "canvas.others"]
    parquet.with_suffix(".away").rename(parquet)
    report = build_warehouse(lake, file)
    assert (report.left_out, len(report.tables)) == ((), 2)


def _load(lake: Lake, file: Path) -> None:
    publish(lake, COURSES, courses_schema(), [ALGEBRA, BIOLOGY])


def _gain_a_file(lake: Lake, file: Path) -> None:
    (lake.folder(COURSES) / "left-over.parquet").write_bytes(b"")


def _write_into_a_file(lake: Lake, file: Path) -> None:
    (parquet,) = lake.folder(COURSES).glob("*.parquet")
    with parquet.open("ab") as opened:
        opened.write(parquet.read_bytes())


def _gain_a_change(lake: Lake, file: Path) -> None:
    (lake.folder(COURSES) / "_changes").mkdir()
    (lake.folder(COURSES) / "_changes" / "left-over.parquet").write_bytes(b"")


def _write_into_it(lake: Lake, file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("DROP VIEW canvas.courses")


def _lose_the_note(lake: Lake, file: Path) -> None:
    file.with_name(f"{file.name}.built").unlink()


def _damage_the_note(lake: Lake, file: Path) -> None:
    file.with_name(f"{file.name}.built").write_text("[1]")


def _lose_the_file(lake: Lake, file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    "what",
    [
        _load,
        _gain_a_file,
        _write_into_a_file,
        _gain_a_change,
        _write_into_it,
        _lose_the_note,
        _damage_the_note,
        _lose_the_file,
    ],
)
def test_all_is_built_anew_after(
    lake: Lake, file: Path, views: list[str], what: Callable[[Lake, Path], None]
) -> None:
    what(lake, file)
    build_warehouse(lake, file)
    assert views == ["canvas.courses"]
    assert query(file, "SELECT min(name) FROM canvas.courses") == [("Algebra",)]


def test_all_is_built_anew_where_that_is_asked_for(
    lake: Lake, file: Path, views: list[str]
) -> None:
    build_warehouse(lake, file, anew=True)
    assert views == ["canvas.courses"]


def test_another_version_of_the_project_builds_anew(
    lake: Lake, file: Path, views: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "views.py").write_text("other words")
    monkeypatch.setattr(built, "_ROOMS", (tmp_path,))
    build_warehouse(lake, file)
    assert views == ["canvas.courses"]


def test_a_damaged_file_is_built_anew_and_told(
    lake: Lake, file: Path, views: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(bytes(4096))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with caplog.at_level(logging.WARNING):
        build_warehouse(lake, file)
    assert f"{file} is built anew, since a copy of it will not do: " in caplog.text
    assert views == ["canvas.courses"]
    assert query(file, "SELECT name FROM canvas.courses") == [("Algebra",)]


def test_someone_who_writes_while_it_is_copied_is_noticed(
    lake: Lake, file: Path, views: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile

    def writing(source: Path, target: Path) -> None:
        copy(source, target)
        os.utime(source)

    monkeypatch.setattr(shutil, "copyfile", writing)
    build_warehouse(lake, file)
    assert views == ["canvas.courses"]


def test_the_note_names_nothing_but_a_digest(file: Path) -> None:
    told = json.loads(file.with_name(f"{file.name}.built").read_text("utf-8"))
    assert sorted(told) == ["file", "mark"]
    assert len(told["mark"]) == 64
