from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dap_pipeline.sandbox.clock import instant_text
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.selections import OldRanges
from dap_pipeline.sandbox.serve import RunningSandbox

from . import small_school
from .caller import Caller
from .small_school import COMMITTED_AT, EARLIER

HOUR = timedelta(hours=1)


@pytest.fixture
def caller(sandbox: RunningSandbox) -> Caller:
    """A caller whose users changed three times: at EARLIER, an hour later and two hours later."""
    store = sandbox.service.store
    small_school.delete(store, "canvas", "users", "id IN (1, 2)")
    changed = [small_school.user(number, EARLIER + number * HOUR) for number in (1, 2)]
    small_school.insert(store, "canvas", "users", changed)
    return Caller(sandbox)


def keys(caller: Caller, **query: Any) -> list[int]:
    job = caller.ended_job("users", format="csv", **query)
    texts = [caller.text({**job, "objects": [each]}) for each in job["objects"]]
    return [int(line.split(",")[0]) for text in texts for line in text.splitlines()[1:]]


def test_since_is_exclusive(caller: Caller) -> None:
    assert keys(caller, since=instant_text(EARLIER)) == [1, 2]
    assert keys(caller, since=instant_text(EARLIER + HOUR)) == [2]
    assert len(keys(caller, since=instant_text(EARLIER - HOUR))) == small_school.USERS


def test_until_is_inclusive_and_leaves_out_what_changed_later(caller: Caller) -> None:
    since = instant_text(EARLIER)
    assert keys(caller, since=since, until=instant_text(EARLIER + HOUR)) == [1]
    assert keys(caller, since=since, until=instant_text(EARLIER + 2 * HOUR)) == [1, 2]


def test_until_defaults_to_the_commit_of_the_newest_record(caller: Caller) -> None:
    job = caller.ended_job("users", format="csv", since=instant_text(EARLIER))
    assert job["until"] == instant_text(EARLIER + 2 * HOUR)


def test_an_end_in_the_future_is_cut_to_the_newest_commit(caller: Caller) -> None:
    future = instant_text(COMMITTED_AT + 100 * HOUR)
    job = caller.ended_job("users", format="csv", since=instant_text(EARLIER), until=future)
    assert job["until"] == instant_text(EARLIER + 2 * HOUR)


def test_an_increment_since_the_newest_commit_is_empty(caller: Caller) -> None:
    newest = instant_text(EARLIER + 2 * HOUR)
    job = caller.ended_job("users", format="csv", since=newest)
    assert (job["objects"], job["since"], job["until"]) == ([], newest, newest)


def test_chained_increments_miss_and_repeat_nothing(caller: Caller) -> None:
    snapshot = caller.ended_job("users", format="csv")
    assert keys(caller, since=snapshot["at"]) == []
    newer = small_school.user(61, EARLIER + 3 * HOUR)
    small_school.insert(caller.sandbox.service.store, "canvas", "users", [newer])
    caller.sandbox.service.clock.advance(25 * HOUR)
    later = Caller(caller.sandbox)
    increment = later.ended_job("users", format="csv", since=snapshot["at"])
    assert keys(later, since=snapshot["at"]) == [61]
    assert increment["until"] == instant_text(EARLIER + 3 * HOUR)


def refusal(caller: Caller, table: str = "users", namespace: str = "canvas", **query: str) -> Any:
    answer = caller.data(table, {"format": "tsv", **query}, namespace)
    assert answer.status_code == 400
    assert answer.json()["error"].keys() == {"type", "uuid", "message", "since", "until"}
    return answer.json()["error"]


def test_a_start_before_what_is_kept_is_out_of_range(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path, history_days=90)
    with small_school.running(config) as sandbox:
        earliest = COMMITTED_AT - timedelta(days=90)
        error = refusal(Caller(sandbox), since=instant_text(earliest - HOUR))
        assert len(keys(Caller(sandbox), since=instant_text(earliest))) == small_school.USERS
    assert error["type"] == "OutOfRangeError"
    assert (error["since"], error["until"]) == (instant_text(earliest), instant_text(EARLIER))


def test_increments_reach_all_the_way_back_unless_told_otherwise(caller: Caller) -> None:
    assert len(keys(caller, since="2001-01-01T00:00:00Z")) == small_school.USERS
    assert refusal(caller, since="1969-12-31T00:00:00Z")["since"] == "1970-01-01T00:00:00Z"


def test_a_start_after_the_newest_commit_is_out_of_range(caller: Caller) -> None:
    error = refusal(caller, since=instant_text(COMMITTED_AT))
    assert error["type"] == "OutOfRangeError"
    assert error["until"] == instant_text(EARLIER + 2 * HOUR)


def test_an_end_before_the_start_is_out_of_range(caller: Caller) -> None:
    since, until = instant_text(EARLIER + HOUR), instant_text(EARLIER)
    assert refusal(caller, since=since, until=until)["type"] == "OutOfRangeError"


def test_logs_reach_back_30_days(caller: Caller) -> None:
    since = instant_text(COMMITTED_AT - timedelta(days=31))
    error = refusal(caller, "web_logs", "canvas_logs", since=since)
    assert error["since"] == instant_text(COMMITTED_AT - timedelta(days=30))


def test_a_reloaded_table_asks_for_a_new_snapshot(caller: Caller) -> None:
    caller.sandbox.service.store.mark_reloaded("canvas", "users", EARLIER + HOUR)
    error = refusal(caller, since=instant_text(EARLIER))
    assert error["type"] == "SnapshotRequiredError"
    assert error["since"] == instant_text(EARLIER + HOUR)
    assert keys(caller, since=error["since"]) == [2]


def test_a_table_quiet_for_long_may_be_asked_since_its_newest_commit(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path, history_days=0)
    with small_school.running(config) as sandbox:
        assert keys(Caller(sandbox), since=instant_text(EARLIER)) == []


def moving(tmp_path: Path, days: int, old_ranges: OldRanges = OldRanges.REFUSED) -> SandboxConfig:
    return SandboxConfig(tmp_path, history_days=days, history_by_clock=True, old_ranges=old_ranges)


def test_a_history_by_the_clock_passes_a_quiet_table(tmp_path: Path) -> None:
    with small_school.running(moving(tmp_path, 7)) as sandbox:
        before = sandbox.service.clock.now()
        error = refusal(Caller(sandbox), since=instant_text(EARLIER))
        assert error["type"] == "OutOfRangeError"
        since = datetime.fromisoformat(error["since"])
        assert timedelta() <= since - (before - timedelta(days=7)) < timedelta(minutes=10)
        assert error["until"] == error["since"]


@pytest.mark.parametrize("old_ranges", [OldRanges.CLIPPED, OldRanges.SHORTENED])
def test_a_range_that_begins_too_early_may_be_answered_in_part(
    tmp_path: Path, old_ranges: OldRanges
) -> None:
    with small_school.running(moving(tmp_path, 7, old_ranges)) as sandbox:
        sandbox.service.clock.advance(timedelta(days=10))
        sandbox.life.insert("canvas.users", 1)
        job = Caller(sandbox).ended_job("users", format="csv", since=instant_text(EARLIER))
        kept_from = sandbox.service.clock.now() - timedelta(days=7)
        is_told = job["since"] != instant_text(EARLIER)
        assert is_told is (old_ranges is OldRanges.CLIPPED)
        if is_told:
            assert datetime.fromisoformat(job["since"]) <= kept_from
        assert len(keys(Caller(sandbox), since=instant_text(EARLIER))) == 1


def test_an_increment_never_shows_half_of_a_commit(caller: Caller) -> None:
    store = caller.sandbox.service.store
    with store.transaction() as cursor:
        at = "TIMESTAMP '2026-11-20 08:00:00'"
        cursor.execute(f"UPDATE canvas.users SET meta_ts = {at} WHERE id > 30")
        job = caller.ended_job("users", format="csv", since=instant_text(EARLIER))
        assert job["until"] == instant_text(EARLIER + 2 * HOUR)
    assert len(keys(caller, since=instant_text(EARLIER + HOUR))) == 31
