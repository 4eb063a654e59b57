"""Logs: DAP keeps them for a month, the lake for ever, and says so when some are lost."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError, OutOfRangeError, SchemaConflictError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import LoadKind, LoadMode, Outcome
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.selections import OldRanges
from dap_pipeline.sandbox.serve import running_sandbox
from dap_pipeline.sandbox.store import Store
from dap_pipeline.warehouse.build import build_warehouse
from dap_pipeline_tests.sandbox import small_school

from .following import Follower, rows_of, settings_for

WEB_LOGS = TableName("canvas_logs", "web_logs")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SCHEMA = small_school.table_schema(
    {"id": {"type": "string", "format": "uuid"}},
    {"timestamp": small_school.INSTANT, "url": small_school.TEXT},
)


def deliver(store: Store, days: list[int]) -> None:
    """Commit a request of each day, counted from the first."""
    rows = []
    for day in days:
        at = NOON + day * DAY
        key = f"00000000-0000-4000-8000-{day:012d}"
        values = {"id": key, "timestamp": at.replace(tzinfo=None), "url": f"/{day}"}
        rows.append(small_school.Row(values, at))
    small_school.insert(store, "canvas_logs", "web_logs", rows)
    store.commit_school(NOON + max(days) * DAY)


def build(store: Store, as_of: datetime) -> None:
    store.create_table("canvas_logs", "web_logs", SCHEMA)
    deliver(store, [0, 0, 1])


@pytest.fixture(params=["parquet", "jsonl"])
def follower(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Follower]:
    config = SandboxConfig(tmp_path / "sandbox", rate_limits=False, job_polls=0)
    with running_sandbox(config, build=build) as sandbox:
        settings = settings_for(sandbox, tmp_path, source_format=str(request.param))
        with Engine.open(settings) as engine:
            yield Follower(sandbox, engine)


def days_of(follower: Follower) -> list[int]:
    urls = rows_of(follower.table(WEB_LOGS).files, "url")
    return sorted(int(url.removeprefix("/")) for (url,) in urls)


def step(follower: Follower, days: list[int]) -> None:
    store, clock = follower.sandbox.service.store, follower.sandbox.service.clock
    clock.advance(25 * timedelta(hours=1))
    deliver(store, days)


def test_keys_are_made_unique_and_each_day_has_its_file(follower: Follower) -> None:
    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    assert days_of(follower) == [0, 1]
    step(follower, [1, 2])
    result = follower.load(LoadMode.AUTO, WEB_LOGS)
    assert result.table.load.kind is LoadKind.INCREMENTAL
    assert days_of(follower) == [0, 1, 2]
    assert len(result.table.files) == 3
    assert result.gap is None


@pytest.mark.parametrize("mode", [LoadMode.SNAPSHOT, LoadMode.AUTO])
def test_what_dap_has_dropped_stays_in_the_lake(follower: Follower, mode: LoadMode) -> None:
    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    step(follower, [20, 25])
    follower.load(LoadMode.AUTO, WEB_LOGS)
    step(follower, [40, 45])
    result = follower.load(mode, WEB_LOGS)
    assert days_of(follower) == [0, 1, 20, 25, 40, 45]
    assert result.gap is None


def test_a_snapshot_that_brings_nothing_is_not_fetched_again(follower: Follower) -> None:
    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    step(follower, [2])
    follower.load(LoadMode.AUTO, WEB_LOGS)
    step(follower, [2])
    assert follower.load(LoadMode.SNAPSHOT, WEB_LOGS).outcome is Outcome.LOADED
    result = follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    assert (result.outcome, result.downloaded_bytes) == (Outcome.UNCHANGED, 0)


def test_rows_that_dap_dropped_before_they_were_loaded_are_reported_as_lost(
    follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    step(follower, [5, 50])
    with pytest.raises(OutOfRangeError, match="permitted from 2026-12-10T12:00:00Z"):
        follower.load(LoadMode.INCREMENTAL, WEB_LOGS)
    with caplog.at_level(logging.WARNING):
        result = follower.load(LoadMode.AUTO, WEB_LOGS)
    assert days_of(follower) == [0, 1, 50]
    assert result.gap is not None
    assert (result.gap.since, result.gap.until) == (NOON + DAY, NOON + 20 * DAY)
    lost = "Rows from 2026-11-21T12:00:00Z to 2026-12-10T12:00:00Z may be lost"
    assert lost in caplog.text
    assert result.reason.startswith("DAP does not keep changes that long")
    (load, _) = follower.engine.lake.history(WEB_LOGS)
    assert load.gap == result.gap


def test_rows_that_an_increment_lacks_are_reported_as_lost(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path / "sandbox", rate_limits=False, old_ranges=OldRanges.SHORTENED)
    with (
        running_sandbox(config, build=build) as sandbox,
        Engine.open(settings_for(sandbox, tmp_path)) as engine,
    ):
        follower = Follower(sandbox, engine)
        follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
        step(follower, [5, 50])
        result = follower.load(LoadMode.INCREMENTAL, WEB_LOGS)
        assert days_of(follower) == [0, 1, 50]
        assert result.gap is not None
        assert (result.gap.since, result.gap.until) == (NOON + DAY, NOON + 20 * DAY)


@pytest.mark.parametrize("mode", list(LoadMode))
def test_lost_files_are_not_replaced_by_what_dap_still_has(
    follower: Follower, mode: LoadMode
) -> None:
    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    kept = follower.table(WEB_LOGS)
    Path(kept.files[0]).unlink()
    with pytest.raises(LakeError, match="is gone or has another size") as raised:
        follower.load(mode, WEB_LOGS)
    assert "Put the files back from a backup" in str(raised.value)
    assert follower.table(WEB_LOGS).version == kept.version


@pytest.mark.parametrize("follower", ["parquet"], indirect=True)
def test_a_request_that_came_again_days_later_can_be_followed_and_deleted(
    follower: Follower,
) -> None:
    store = follower.sandbox.service.store

    def commit(action: str, *requests: tuple[int, int]) -> None:
        now = follower.sandbox.service.clock.advance(timedelta(hours=4))
        for key, day in requests:
            values: dict[str, object] = {"id": f"00000000-0000-4000-8000-{key:012d}"}
            if action == "U":
                at = NOON + day * DAY
                values |= {"timestamp": at.replace(tzinfo=None), "url": f"/{day}"}
            small_school.insert(
                store, "canvas_logs", "web_logs", [small_school.Row(values, now, action)]
            )
        store.commit_school(now)

    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    commit("U", (0, 5))
    follower.load(LoadMode.AUTO, WEB_LOGS)
    assert days_of(follower) == [0, 1, 5]
    # Both days are written anew, and each has the key once.
    commit("U", (60, 0), (65, 5))
    follower.load(LoadMode.AUTO, WEB_LOGS)
    assert days_of(follower) == [0, 0, 1, 5, 5]
    small_school.delete(store, "canvas_logs", "web_logs", "id::VARCHAR LIKE '%-000000000000'")
    commit("D", (0, 0))
    result = follower.load(LoadMode.AUTO, WEB_LOGS)
    assert result.table.load.kind is LoadKind.INCREMENTAL
    assert days_of(follower) == [0, 1, 5]


@pytest.mark.parametrize("follower", ["parquet"], indirect=True)
def test_a_column_of_another_type_begins_anew_and_what_it_held_is_kept(
    follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    life = follower.sandbox.life
    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    step(follower, [1, 2])
    follower.load(LoadMode.AUTO, WEB_LOGS)
    before = sorted(rows_of(follower.table(WEB_LOGS).files, "id, url"))
    life.redefine(str(WEB_LOGS), "url", {"type": "integer", "format": "int64"})
    follower.change("insert", 2, WEB_LOGS)
    with caplog.at_level(logging.WARNING):
        result = follower.load(LoadMode.AUTO, WEB_LOGS)
    told = "Column url begins anew, and what it held before is kept as url_before_v2"
    assert any(str(change).startswith(told) for change in result.schema_changes)
    assert told in caplog.text
    published = follower.table(WEB_LOGS)
    assert published.load.kind is LoadKind.INCREMENTAL
    rows = rows_of(published.files, "id, url_before_v2, url")
    assert sorted((key, old) for key, old, _ in rows if old is not None) == before
    assert len(rows) == len(before) + 2
    assert all(new is None for _, old, new in rows if old is not None)
    # One typed whole for other readers too.
    table = pl.read_delta(str(follower.engine.lake.folder(WEB_LOGS)))
    assert [table.schema[name] for name in ("url", "url_before_v2")] == [pl.Int64, pl.String]
    # It is done once: what comes later leaves older days as they are.
    follower.change("insert", 1, WEB_LOGS)
    later = follower.load(LoadMode.AUTO, WEB_LOGS)
    assert set(published.files) < set(later.table.files)
    assert follower.load(LoadMode.SNAPSHOT, WEB_LOGS).table.rows == later.table.rows


@pytest.mark.parametrize("follower", ["parquet"], indirect=True)
def test_a_log_with_another_key_begins_anew_beside_the_older_one(
    follower: Follower, tmp_path: Path
) -> None:
    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    before = days_of(follower)
    step(follower, [1])
    follower.sandbox.life.bump(str(WEB_LOGS), Bump.KEY_CHANGED)
    follower.change("insert", 2, WEB_LOGS)
    told = set()
    for mode in LoadMode:
        with pytest.raises(SchemaConflictError, match="the key was") as raised:
            follower.load(mode, WEB_LOGS)
        told.add(raised.value.what_to_do)
    (advice,) = told
    found = re.search(r"rename the table's folder in the lake, (\S+), to (\S+), and load", advice)
    assert found is not None
    lake = follower.engine.lake
    (lake.root / found[1]).rename(lake.root / found[2])
    assert follower.load(LoadMode.AUTO, WEB_LOGS).table.load.kind is LoadKind.SNAPSHOT
    warehouse = build_warehouse(lake, tmp_path / "warehouse.duckdb").file
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        query = "SELECT url FROM canvas_logs.{} ORDER BY url"
        older = connection.execute(query.format("web_logs_before_v2")).fetchall()
        newer = connection.execute(query.format("web_logs")).fetchall()
    assert older == [(f"/{day}",) for day in before]
    assert len(newer) == 2 + 2


@pytest.mark.parametrize("follower", ["parquet"], indirect=True)
def test_a_snapshot_of_a_log_that_lost_its_instant_takes_nothing_away(follower: Follower) -> None:
    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    step(follower, [40])
    store = follower.sandbox.service.store
    schema = small_school.table_schema(
        {"id": {"type": "string", "format": "uuid"}}, {"url": small_school.TEXT}
    )
    with store.transaction() as cursor:
        store.change_schema("canvas_logs", "web_logs", schema, 2, cursor)
    follower.load(LoadMode.SNAPSHOT, WEB_LOGS)
    assert days_of(follower) == [0, 1, 40]
