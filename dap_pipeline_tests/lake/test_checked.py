"""What is noted beside a table of which DAP has nothing new."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dap_pipeline.lake.tables import Lake

from .loading import NAME, NOON, hours, publish


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_what_dap_said_some_time_ago_counts_from_then(lake: Lake, tmp_path: Path) -> None:
    before = publish(lake, tmp_path, "job-1", [{"a": "x"}])
    found = lake.confirm(before, before.watermark, hours(6))
    assert found.checked_at == before.checked_at
    after = lake.confirm(found, before.watermark)
    assert after.checked_at > before.checked_at
    found = lake.confirm(after, before.watermark, hours(6))
    assert found.checked_at == after.checked_at
    assert found.checked.times == 3
    assert lake.table(NAME) == found


def test_a_later_instant_up_to_which_nothing_came_is_the_watermark(
    lake: Lake, tmp_path: Path
) -> None:
    before = publish(lake, tmp_path, "job-1", [{"a": "x"}])
    asked = lake.confirm(before, before.watermark)
    later = lake.confirm(asked, before.load.at + hours(4))
    assert (later.watermark, later.checked.times) == (before.load.at + hours(4), 0)
    # An answer of before, as from a job that is there for a day.
    again = lake.confirm(later, before.load.at)
    assert (again.watermark, again.checked.times) == (later.watermark, 1)
    assert again.load == before.load


@pytest.mark.parametrize("text", ["", "[]", "1", '{"at": 1}', '{"at": "2026-11-20", "checks": []}'])
def test_a_note_that_cannot_be_read_says_nothing(lake: Lake, tmp_path: Path, text: str) -> None:
    before = publish(lake, tmp_path, "job-1", [{"a": "x"}])
    (lake.folder(NAME) / "_checked").write_text(text)
    assert lake.table(NAME) == before
    assert lake.confirm(before, before.watermark).checked.times == 1


def test_a_note_from_a_clock_that_was_ahead_does_not_last(lake: Lake, tmp_path: Path) -> None:
    table = publish(lake, tmp_path, "job-1", [{"a": "x"}])
    lake.confirm(table, table.watermark)
    ahead = (datetime.now(UTC) + hours(24 * 30)).timestamp()
    os.utime(lake.folder(NAME) / "_checked", (ahead, ahead))
    found = lake.confirm(table, table.watermark)
    assert found.checked_at <= datetime.now(UTC)


def test_a_version_of_the_same_instant_is_not_taken_for_the_one_that_was_checked(
    lake: Lake, tmp_path: Path
) -> None:
    publish(lake, tmp_path, "job-1", [{"a": "x"}])
    # What became visible late has the instant of what was loaded before it.
    late = publish(lake, tmp_path, "job-2", [{"a": "x"}, {"a": "y"}])
    lake.confirm(late, NOON + hours(4))
    restored = lake.restore(NAME, 0)
    assert (restored.load.at, restored.watermark) == (NOON, NOON)
    assert lake.restore(NAME, 1).watermark == NOON + hours(4)


def test_a_later_version_keeps_count_of_what_was_asked_from_its_instant_on(
    lake: Lake, tmp_path: Path
) -> None:
    table = publish(lake, tmp_path, "job-1", [{"a": "x"}])
    for _ in range(3):
        table = lake.confirm(table, NOON + hours(4))
    after = publish(lake, tmp_path, "job-2", [{"a": "y"}], at=NOON + hours(4))
    assert after.checked.times == table.checked.times == 2
    assert publish(lake, tmp_path, "job-3", [], at=NOON + hours(5)).checked.times == 0
