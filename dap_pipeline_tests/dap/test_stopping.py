from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import CancelledError

from .parts import WatchedStop


def test_who_checks_after_a_stop_is_cancelled() -> None:
    stop = Stop()
    stop.check()
    assert not stop.is_set()
    stop.set()
    assert stop.is_set()
    with pytest.raises(CancelledError):
        stop.check()
    with pytest.raises(CancelledError):
        stop.wait(0.0)


def test_a_wait_lasts_as_long_as_it_should() -> None:
    began = time.monotonic()
    Stop().wait(0.05)
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("above", [False, True], ids=["own", "of the wider work"])
def test_a_stop_ends_a_wait_soon(above: bool) -> None:
    wider = Stop()
    waiting = threading.Event()
    stop = Stop(Stop(wider))
    with ThreadPoolExecutor(1) as pool:

        def wait() -> None:
            waiting.set()
            stop.wait(600.0)

        future = pool.submit(wait)
        assert waiting.wait(60)
        asked = time.monotonic()
        (wider if above else stop).set()
        assert isinstance(future.exception(60), CancelledError)
        assert time.monotonic() - asked < 30.0


def test_a_stop_reaches_the_parts_of_the_work_but_not_the_wider_work() -> None:
    wider = Stop()
    work = Stop(wider)
    part, sibling = Stop(work), Stop(wider)
    work.set()
    assert [s.is_set() for s in (wider, work, part, sibling)] == [False, True, True, False]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_whoever_reads_is_woken_once_by_a_stop_at_any_level(level: int) -> None:
    stops = [wide := Stop(), work := Stop(wide), part := Stop(work)]
    woken: list[int] = []
    with part.waking(lambda: woken.append(1)):
        stops[level].set()
        assert woken == [1]
    for stop in stops:
        stop.set()
    assert woken == [1]


def test_whoever_begins_to_read_after_the_stop_is_cancelled_and_leaves_nothing_behind() -> None:
    stop = Stop()
    work = Stop(stop)
    stop.set()
    woken: list[int] = []
    with pytest.raises(CancelledError), work.waking(lambda: woken.append(1)):
        pytest.fail("the block was entered")
    work.set()
    assert woken == []


def test_one_reader_that_cannot_be_woken_hides_no_other() -> None:
    stop = Stop()
    woken: list[int] = []

    def broken() -> None:
        raise ValueError("nothing to shut down")

    with stop.waking(broken), stop.waking(lambda: woken.append(1)):
        stop.set()
    assert woken == [1]


def test_nobody_is_woken_whose_reading_has_ended() -> None:
    """A connection that was read to its end serves the next download: it must not be cut."""
    stop = Stop()
    waking, over = threading.Event(), threading.Event()
    order: list[str] = []

    def slow() -> None:
        waking.set()
        # Time enough for the other thread to leave its block, if only it could.
        over.wait(0.2)

    def other() -> None:
        with stop.waking(lambda: order.append("woken")):
            inside.set()
            assert waking.wait(60)
        order.append("ended")
        over.set()

    inside = threading.Event()
    with ThreadPoolExecutor(1) as pool, stop.waking(slow):
        future = pool.submit(other)
        assert inside.wait(60)
        stop.set()
        future.result(60)
    assert order == ["woken", "ended"]


def test_a_stop_may_be_asked_for_by_a_waker() -> None:
    """As a signal handler may, in the middle of another stop."""
    stop = Stop()
    with stop.waking(stop.set):
        stop.set()
    assert stop.is_set()


def test_every_wait_is_known_to_a_watched_stop() -> None:
    stop = WatchedStop()
    stop.wait(0.001)
    stop.wait(0.002)
    assert stop.waits == [0.001, 0.002]
