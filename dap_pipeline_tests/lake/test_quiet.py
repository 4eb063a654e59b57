"""Tables of which DAP has nothing new, though its increments end later and later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.merging.merge import ChangeCounts
from dap_pipeline.lake.records import LoadKind, LoadMode, Outcome
from dap_pipeline.sandbox.jobs import Jobs
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.queries import Query
from dap_pipeline.sandbox.selections import Selection
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.sandbox.store import StoredTable
from dap_pipeline.warehouse.build import build_warehouse

from .following import USERS, Follower, settings_for

NOTHING = ChangeCounts(0, 0, 0, 0)
HOUR = timedelta(hours=1)


def _until_now(self: Jobs, table: StoredTable, query: Query, cursor: Any = None) -> Selection:
    """Let increments end with the present, as if DAP had looked for changes just now."""
    if query.since is None:
        return _as_documented(self, table, query, cursor)
    return Selection(table, self._clock.now(), query.since)


_as_documented = Jobs._select


@pytest.fixture
def follower(
    sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Follower]:
    monkeypatch.setattr(Jobs, "_select", _until_now)
    with Engine.open(settings_for(sandbox, tmp_path)) as engine:
        follower = Follower(sandbox, engine)
        follower.load()
        yield follower


def quiet(follower: Follower, hours: float = 4) -> None:
    follower.pass_time(hours)
    before = follower.table()
    result = follower.load()
    assert (result.outcome, result.counts) == (Outcome.UNCHANGED, NOTHING)
    assert result.table == follower.table()
    assert (result.table.version, result.table.load) == (before.version, before.load)
    assert result.table.watermark - before.watermark >= hours * HOUR
    assert result.table.checked_at > before.checked_at


def test_a_quiet_table_gets_no_version_but_a_later_watermark(follower: Follower) -> None:
    for _ in range(3):
        quiet(follower)
    assert follower.table().version == 0


def test_the_next_increment_goes_on_from_where_it_was_quiet(follower: Follower) -> None:
    quiet(follower)
    watermark = follower.table().watermark
    follower.change("update", 2)
    load = follower.load().table.load
    assert (load.kind, load.since, load.counts) == (
        LoadKind.INCREMENTAL,
        watermark,
        ChangeCounts(0, 2, 0, 0),
    )
    quiet(follower)


def test_what_comes_again_makes_no_version(follower: Follower) -> None:
    follower.pass_time(4)
    follower.sandbox.life.bury(str(USERS), 1)
    follower.load()
    before = follower.table()
    follower.change("bury")
    result = follower.load()
    assert (result.outcome, result.counts) == (Outcome.UNCHANGED, ChangeCounts(0, 0, 0, 1))
    after = follower.table()
    assert (after.version, after.load) == (before.version, before.load)
    assert after.watermark > before.watermark


def test_a_new_schema_makes_a_version_without_a_row(follower: Follower) -> None:
    quiet(follower)
    follower.pass_time(4)
    follower.sandbox.life.bump(str(USERS), Bump.COLUMN_ADDED)
    result = follower.load()
    assert (result.outcome, result.counts) == (Outcome.LOADED, NOTHING)
    assert result.table.load.at == result.table.watermark
    quiet(follower)


def test_a_snapshot_of_a_quiet_table_is_the_published_one(follower: Follower) -> None:
    quiet(follower)
    watermark = follower.table().watermark
    assert follower.load(LoadMode.SNAPSHOT).outcome is Outcome.UNCHANGED
    assert follower.table().watermark == watermark
    quiet(follower)


def test_a_table_that_only_increments_call_quiet_still_has_its_turn_as_a_snapshot(
    follower: Follower,
) -> None:
    assert follower.table().snapshot_at == follower.table().checked_at
    quiet(follower)
    table = follower.table()
    assert table.snapshot_at == table.load.committed_at < table.checked_at


def test_a_reload_after_a_quiet_time_is_answered_with_a_snapshot(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(follower)
    monkeypatch.setattr(Jobs, "_select", _as_documented)
    follower.change("reload")
    result = follower.load()
    assert result.table.load.kind is LoadKind.SNAPSHOT
    assert result.reason.startswith("the table was reloaded")
    follower.check()


def test_a_range_that_begins_after_the_newest_commit_is_quiet(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(follower)
    monkeypatch.setattr(Jobs, "_select", _as_documented)
    before = follower.table()
    assert follower.load().outcome is Outcome.UNCHANGED
    after = follower.table()
    assert (after.load, after.watermark) == (before.load, before.watermark)
    assert after.checked_at > before.checked_at
    follower.change("update", 2)
    assert follower.load().counts == ChangeCounts(0, 2, 0, 0)
    follower.check()


def test_what_was_quiet_after_a_later_version_says_nothing_of_a_restored_one(
    follower: Follower,
) -> None:
    first = follower.table()
    follower.change("update", 2)
    follower.load()
    quiet(follower)
    restored = follower.engine.lake.restore(USERS, 0)
    assert (restored.watermark, restored.checked_at) == (first.load.at, first.load.at)
    counts = follower.load().counts
    assert counts is not None
    assert (counts.inserted, counts.updated) == (0, 2)


def test_the_warehouse_tells_the_watermark_and_history_the_loads(
    follower: Follower, tmp_path: Path
) -> None:
    quiet(follower)
    table = follower.table()
    file = build_warehouse(follower.engine.lake, tmp_path / "warehouse.duckdb").file
    with duckdb.connect(str(file), read_only=True) as connection:
        assert connection.sql("SELECT as_of, checked_at FROM dap.tables").fetchall() == [
            (table.watermark, table.checked_at)
        ]
        assert connection.sql("SELECT as_of FROM dap.loads").fetchall() == [(table.load.at,)]
