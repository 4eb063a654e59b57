from __future__ import annotations

import queue
import threading

import pytest

from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.workers import Places, Workers
from dap_pipeline.errors import CancelledError


def threads_named(name: str) -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith(f"{name}-")]


def await_end(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_jobs_are_done_in_the_order_of_asking() -> None:
    workers = Workers(1, "in-order")
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(20):
        workers.submit(lambda number=number: done.put(number))  # type: ignore[misc]  # bound now
    assert [done.get(timeout=60) for _ in range(20)] == list(range(20))
    workers.close()


def test_no_more_jobs_are_done_at_once_than_there_are_threads() -> None:
    workers = Workers(3, "at-once")
    together = threading.Barrier(3)
    done: queue.SimpleQueue[str] = queue.SimpleQueue()

    def job() -> None:
        together.wait(60)
        done.put(threading.current_thread().name)

    for _ in range(9):
        workers.submit(job)
    names = {done.get(timeout=60) for _ in range(9)}
    assert names <= {"at-once-1", "at-once-2", "at-once-3"}
    threads = threads_named("at-once")
    assert len(threads) == 3
    assert all(thread.daemon for thread in threads)
    workers.close()
    await_end(threads)


def test_threads_are_started_when_work_comes() -> None:
    workers = Workers(8, "lazy")
    assert threads_named("lazy") == []
    done = threading.Event()
    workers.submit(done.set)
    assert done.wait(60)
    assert len(threads_named("lazy")) == 1
    workers.close()
    await_end(threads_named("lazy"))


def test_work_that_was_asked_for_is_done_before_the_end() -> None:
    workers = Workers(1, "last-work")
    gate, done = threading.Event(), threading.Event()

    def wait() -> None:
        gate.wait(60)

    workers.submit(wait)
    workers.submit(done.set)
    workers.close()
    gate.set()
    assert done.wait(60)
    await_end(threads_named("last-work"))


def test_after_the_end_new_work_gets_new_threads() -> None:
    workers = Workers(2, "again")
    for _ in range(3):
        done = threading.Event()
        workers.submit(done.set)
        assert done.wait(60)
        workers.close()
    await_end(threads_named("again"))


@pytest.mark.parametrize("_", range(20))
def test_work_that_is_asked_for_while_the_end_comes_is_done(_: int) -> None:
    workers = Workers(1, "racing")
    first, second = threading.Event(), threading.Event()
    workers.submit(first.set)
    closing = threading.Thread(target=workers.close)
    closing.start()
    workers.submit(second.set)
    closing.join(60)
    assert second.wait(60)
    workers.close()
    await_end(threads_named("racing"))


def test_a_result_is_what_the_job_gives_or_raises() -> None:
    workers = Workers(1, "result")
    assert workers.result(lambda: threading.current_thread().name, Stop()) == "result-1"

    def fail() -> None:
        raise LookupError("the job's own")

    with pytest.raises(LookupError, match="the job's own"):
        workers.result(fail, Stop())
    workers.close()


def test_a_stop_takes_back_a_job_that_no_thread_has_begun() -> None:
    workers, gate, stop = Workers(1, "busy"), threading.Event(), Stop()
    begun: list[str] = []

    def hold() -> None:
        gate.wait(60)

    workers.submit(hold)
    stop.set()
    with pytest.raises(CancelledError):
        workers.result(lambda: begun.append("late"), stop)
    gate.set()
    workers.close()
    await_end(threads_named("busy"))
    assert begun == []


def test_who_finds_no_place_waits_for_one_and_gives_way_to_a_stop() -> None:
    places, stop = Places(1), Stop()
    with places.taken(Stop()):
        stop.set()
        with pytest.raises(CancelledError), places.taken(stop):
            raise AssertionError("there were two places")
    with places.taken(Stop()):
        pass
