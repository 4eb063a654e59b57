from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from dap_pipeline.dap import budget as budget_module
from dap_pipeline.dap import limits as limits_module
from dap_pipeline.dap.limits import Endpoint, Limiter, limits_of
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import CancelledError, RateLimitedError
from dap_pipeline.settings import LimitsCount, load_settings

from .limiting import PERIOD, calls, limiter
from .parts import WatchedStop


def most_within(times: list[float], seconds: float) -> int:
    """Count the calls in the fullest window of so many seconds."""
    return max(sum(start <= t < start + seconds for t in times) for start in times)


def rewrite(folder: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(folder / "limits.sqlite")) as db, db:
        db.execute(statement, values)


def keep_history(folder: Path) -> None:
    """Let the database itself note every slot that anybody takes."""
    rewrite(folder, "CREATE TABLE history (at REAL)")
    rewrite(
        folder,
        "CREATE TRIGGER noting AFTER INSERT ON calls BEGIN"
        " INSERT INTO history VALUES (new.at); END",
    )


def history(folder: Path) -> list[float]:
    with contextlib.closing(sqlite3.connect(folder / "limits.sqlite")) as db:
        return [at for (at,) in db.execute("SELECT at FROM history ORDER BY at")]


def take_slots(folder: str, count: int) -> None:
    """Take slots as fast as the limiter lets, perhaps in a process of its own."""
    own = limiter(Path(folder))
    for _ in range(count):
        own.acquire(Endpoint.CREATE, Stop())


@pytest.mark.slow
def test_several_processes_together_never_call_more_often_than_allowed(tmp_path: Path) -> None:
    limiter(tmp_path)
    keep_history(tmp_path)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=take_slots, args=(str(tmp_path), 4)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    taken = history(tmp_path)
    assert len(taken) == 12
    assert most_within(taken, PERIOD) <= 3


def test_limiters_that_begin_together_all_get_the_file(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def begin(_: int) -> None:
        together.wait(60)
        limiter(tmp_path, most=8).acquire(Endpoint.LIST, Stop())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    assert len(calls(tmp_path)) == 8


def test_threads_together_never_call_more_often_than_allowed(tmp_path: Path) -> None:
    limiter(tmp_path)
    keep_history(tmp_path)
    threads = [threading.Thread(target=take_slots, args=(str(tmp_path), 3)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = history(tmp_path)
    assert len(taken) == 12
    assert most_within(taken, PERIOD) <= 3


def test_a_free_slot_is_taken_without_waiting(tmp_path: Path) -> None:
    stop = WatchedStop()
    shared = limiter(tmp_path)
    for _ in range(3):
        shared.acquire(Endpoint.CREATE, stop)
    assert stop.waits == []


def test_one_call_too_many_waits_for_the_oldest_to_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = stopped_clock(monkeypatch)
    stop, shared = PassingTime(clock), limiter(tmp_path, most=1, period=60.0)
    shared.acquire(Endpoint.CREATE, stop)
    clock.value += 20.0
    shared.acquire(Endpoint.CREATE, stop)
    assert stop.waits == [40.0]


def test_each_endpoint_and_each_scope_has_its_own_budget(tmp_path: Path) -> None:
    stop = WatchedStop()
    for scope, endpoint in itertools.product(("one", "two"), Endpoint):
        limiter(tmp_path, scope, period=60.0, most=1).acquire(endpoint, stop)
    assert stop.waits == []
    assert len(calls(tmp_path)) == 2 * len(Endpoint)


def test_a_stop_ends_the_wait_and_takes_no_slot(tmp_path: Path) -> None:
    shared, stop = limiter(tmp_path, period=600.0, most=1), WatchedStop()
    shared.acquire(Endpoint.CREATE, Stop())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.acquire, Endpoint.CREATE, stop)
        assert stop.waiting.wait(60)
        asked = time.monotonic()
        stop.set()
        assert isinstance(waiting.exception(60), CancelledError)
    assert time.monotonic() - asked < 30.0
    assert len(calls(tmp_path)) == 1


def test_who_is_stopped_already_takes_no_slot(tmp_path: Path) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(CancelledError):
        limiter(tmp_path).acquire(Endpoint.CREATE, stop)
    assert calls(tmp_path) == []


def test_a_pause_holds_for_everyone_and_for_that_endpoint_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = PassingTime(stopped_clock(monkeypatch))
    limiter(tmp_path).pause(Endpoint.CREATE, 40.0)
    other = limiter(tmp_path)
    other.acquire(Endpoint.POLL, stop)
    assert stop.waits == []
    other.acquire(Endpoint.CREATE, stop)
    assert stop.waits == [40.0]


def test_a_shorter_pause_does_not_end_a_longer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, stop = limiter(tmp_path), PassingTime(stopped_clock(monkeypatch))
    shared.pause(Endpoint.CREATE, 40.0)
    shared.pause(Endpoint.CREATE, 1.0)
    shared.acquire(Endpoint.CREATE, stop)
    assert stop.waits == [40.0]


@pytest.mark.parametrize("seconds", [1e9, float("inf")])
def test_a_pause_lasts_an_hour_at_most(tmp_path: Path, seconds: float) -> None:
    shared, stop = limiter(tmp_path), WatchedStop()
    shared.pause(Endpoint.CREATE, seconds)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.acquire, Endpoint.CREATE, stop)
        assert stop.waiting.wait(60)
        stop.set()
        assert isinstance(waiting.exception(60), CancelledError)
    assert 3000 < stop.waits[0] <= 3600


def test_calls_and_pauses_from_before_a_restart_of_the_machine_are_forgotten(
    tmp_path: Path,
) -> None:
    shared, stop = limiter(tmp_path, period=600.0, most=1), WatchedStop()
    shared.acquire(Endpoint.CREATE, stop)
    shared.pause(Endpoint.CREATE, 600.0)
    # After a restart the machine's clock begins anew, so all that is written down lies ahead.
    rewrite(tmp_path, "UPDATE calls SET at = at + 50000")
    rewrite(tmp_path, "UPDATE rests SET since = since + 1000, until = until + 1000")
    shared.acquire(Endpoint.CREATE, stop)
    assert stop.waits == []
    assert len(calls(tmp_path)) == 1


def test_a_pause_from_before_a_restart_does_not_prolong_a_new_one(tmp_path: Path) -> None:
    shared, stop = limiter(tmp_path), WatchedStop()
    shared.pause(Endpoint.CREATE, 600.0)
    rewrite(tmp_path, "UPDATE rests SET since = since + 1000, until = until + 1000")
    shared.pause(Endpoint.CREATE, 0.05)
    shared.acquire(Endpoint.CREATE, stop)
    assert sum(stop.waits) < 60


def test_old_calls_do_not_pile_up(tmp_path: Path) -> None:
    shared = limiter(tmp_path, period=0.05, most=100_000)
    keep_history(tmp_path)
    while len(taken := history(tmp_path)) < 2 or taken[-1] - taken[0] < 0.1:
        shared.acquire(Endpoint.POLL, Stop())
    kept = [at for _, _, at in calls(tmp_path)]
    assert kept == [at for at in taken if taken[-1] - at < 0.05]
    assert len(kept) < len(taken)


def test_a_rest_is_told_once_and_not_waited_for_longer_than_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared, stop = limiter(tmp_path), WatchedStop()
    shared.pause(Endpoint.CREATE, 600.0)
    with pytest.raises(RateLimitedError, match=r"429 and allows no create calls until \d\d:") as e:
        shared.acquire(Endpoint.CREATE, stop, longest_rest=500.0)
    assert "DAP_PIPELINE_RETRY_SECONDS" in str(e.value)
    assert stop.waits == []
    for _ in range(2):
        with pytest.raises(CancelledError):
            shared.acquire(Endpoint.CREATE, Impatient(), longest_rest=700.0)
    assert caplog.text.count("allows no create calls until") == 1


def test_rests_that_follow_each_other_are_waited_for_as_long_as_asked_in_all(
    tmp_path: Path,
) -> None:
    shared = limiter(tmp_path)

    class MeetsAnother(Stop):
        def wait(self, seconds: float) -> None:
            rewrite(tmp_path, "DELETE FROM rests")
            shared.pause(Endpoint.CREATE, 30.0)

    shared.pause(Endpoint.CREATE, 30.0)
    with pytest.raises(RateLimitedError):
        shared.acquire(Endpoint.CREATE, MeetsAnother(), longest_rest=100.0)


def test_the_settings_give_the_limits() -> None:
    settings = load_settings(creates_per_minute=1, polls_per_minute=2, lists_per_minute=3)
    limits = limits_of(settings)
    assert set(limits) == set(Endpoint)
    assert [limits[e] for e in (Endpoint.CREATE, Endpoint.POLL, Endpoint.LIST)] == [1, 2, 3]
    assert limits[Endpoint.SCHEMA] == 500
    assert limits[Endpoint.LINKS] == 200


def test_after_a_429_half_as_many_calls_are_allowed_and_each_minute_some_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = stopped_clock(monkeypatch)
    shared = limiter(tmp_path, period=60.0, most=40)
    assert taken_at_once(shared) == 40
    now.value += 61.0
    shared.pause(Endpoint.CREATE, 30.0)
    assert taken_at_once(shared) == 0
    now.value += 30.0
    assert taken_at_once(shared) == 20
    for allowed in (24, 28, 32, 36, 40, 40):
        now.value += 60.0
        assert taken_at_once(shared) == allowed


def test_calls_that_were_refused_together_count_as_one_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = stopped_clock(monkeypatch)
    shared = limiter(tmp_path, period=60.0, most=40)
    for _ in range(8):
        shared.pause(Endpoint.CREATE, 30.0)
    now.value += 31.0
    assert taken_at_once(shared) == 20


def test_a_call_a_minute_is_always_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = stopped_clock(monkeypatch)
    shared = limiter(tmp_path, period=60.0, most=2)
    for _ in range(3):
        shared.pause(Endpoint.CREATE, 1.0)
        now.value += 2.0
    assert taken_at_once(shared) == 1


def test_what_a_429_taught_is_known_to_other_runs_but_not_to_other_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = stopped_clock(monkeypatch)
    limiter(tmp_path, scope="mine", most=40).pause(Endpoint.CREATE, 1.0)
    now.value += 2.0
    assert taken_at_once(limiter(tmp_path, scope="mine", most=40, period=60.0)) == 20
    assert taken_at_once(limiter(tmp_path, scope="yours", most=40, period=60.0)) == 40


def test_tables_share_a_budget_unless_each_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = stopped_clock(monkeypatch)

    def calls_to(tables: str, count: LimitsCount) -> list[float]:
        folder = tmp_path / count
        limits = dict.fromkeys(Endpoint, 1)
        shared = Limiter(folder / "l.sqlite", limits, count=count)
        stop = PassingTime(clock)
        for table in tables:
            shared.acquire(Endpoint.CREATE, stop, table=table)
        return stop.waits

    assert calls_to("ab", LimitsCount.ACCOUNT)
    assert not calls_to("ab", LimitsCount.TABLE)
    assert calls_to("a", LimitsCount.TABLE)


def test_a_429_to_one_table_rests_that_table_where_each_has_its_own_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = dict.fromkeys(Endpoint, 5)
    clock = stopped_clock(monkeypatch)
    shared = Limiter(tmp_path / "l.sqlite", limits, count=LimitsCount.TABLE)
    shared.pause(Endpoint.CREATE, 30.0, table="a")
    stop = PassingTime(clock)
    shared.acquire(Endpoint.CREATE, stop, table="b")
    assert stop.waits == []
    shared.acquire(Endpoint.CREATE, stop, table="a")
    assert stop.waits


@dataclass
class StoppedClock:
    value: float = 1000.0


def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    """Let the limiter's clock stand still but for what the test adds to it."""
    clock = StoppedClock()
    for module in (budget_module, limits_module):
        monkeypatch.setattr(module, "now", lambda: clock.value)
    return clock


class PassingTime(WatchedStop):
    """Lets the stopped clock go on by each wait."""

    def __init__(self, clock: StoppedClock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.value += seconds


class Impatient(Stop):
    def wait(self, seconds: float) -> None:
        raise CancelledError("it would have to wait")


def taken_at_once(shared: Limiter) -> int:
    """Take slots until one would have to be waited for, and count them."""
    for number in range(1000):
        try:
            shared.acquire(Endpoint.CREATE, Impatient())
        except CancelledError:
            return number
    raise AssertionError("there is no limit")
