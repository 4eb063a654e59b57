"""Logs: DAP keeps them for a month, the lake for ever, and says so when some are lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError, OutOfRangeError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import LoadKind, LoadMode
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.serve import running_sandbox
from dap_pipeline.sandbox.store import Store
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
    lost = "Rows from 2026-11-21T12:00:00Z to 2026-12-10T12:00:00Z are lost"
    assert lost in caplog.text
    assert result.reason.startswith("DAP does not keep changes that long")
    (load, _) = follower.engine.lake.history(WEB_LOGS)
    assert load.gap == result.gap


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
