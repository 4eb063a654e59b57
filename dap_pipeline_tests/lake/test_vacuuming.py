"""Old files go when nobody can need them any more, and not before."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from dap_pipeline.lake.tables import Lake

from .loading import NAME, hours, publish


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def _files(lake: Lake) -> set[str]:
    return {str(path) for path in (lake.root / "canvas" / "courses").glob("*.parquet")}


def _age(path: Path, hours_ago: float) -> None:
    then = time.time() - hours_ago * 3600
    os.utime(path, (then, then))


def test_nothing_is_removed_where_there_is_no_table(lake: Lake) -> None:
    assert lake.vacuum(NAME, timedelta(0)) == 0


def test_versions_are_kept_for_as_long_as_was_asked(lake: Lake, tmp_path: Path) -> None:
    for number in range(3):
        publish(lake, tmp_path, f"job-{number}", [{"a": "x"}])
    assert lake.vacuum(NAME, timedelta(days=7)) == 0
    old = lake.table(NAME, version=0)
    assert old is not None
    assert set(old.files) <= _files(lake)


def test_versions_that_ended_earlier_go_and_the_current_one_stays(
    lake: Lake, tmp_path: Path
) -> None:
    tables = [publish(lake, tmp_path, f"job-{number}", [{"a": "x"}]) for number in range(3)]
    current = tables[-1]
    assert lake.vacuum(NAME, timedelta(0)) == 2
    assert _files(lake) == set(current.files)
    assert lake.vacuum(NAME, timedelta(0)) == 0
    table = lake.table(NAME)
    assert table is not None
    assert table.version == current.version


def test_an_old_file_of_the_current_version_stays(lake: Lake, tmp_path: Path) -> None:
    current = publish(lake, tmp_path, "job-1", [{"a": "x"}])
    _age(Path(current.files[0]), hours_ago=10_000)
    assert lake.vacuum(NAME, timedelta(0)) == 0
    assert _files(lake) == set(current.files)


def test_files_that_no_version_knows_go_when_they_are_old(lake: Lake, tmp_path: Path) -> None:
    current = publish(lake, tmp_path, "job-1", [{"a": "x"}])
    folder = lake.root / "canvas" / "courses"
    orphan = folder / "snapshot-20200101T000000Z-abcdef-00000.parquet"
    orphan.write_bytes(b"left by a load that was killed")
    assert lake.vacuum(NAME, timedelta(0)) == 0, "it may belong to a load about to commit"
    _age(orphan, hours_ago=2)
    assert lake.vacuum(NAME, hours(3)) == 0
    assert lake.vacuum(NAME, hours(0)) == 1
    assert _files(lake) == set(current.files)


def test_files_of_old_versions_go_after_the_log_has_forgotten_them(
    lake: Lake, tmp_path: Path
) -> None:
    tables = [publish(lake, tmp_path, f"job-{number}", [{"a": "x"}]) for number in range(25)]
    assert lake.vacuum(NAME, timedelta(0)) == 24
    assert _files(lake) == set(tables[-1].files)
