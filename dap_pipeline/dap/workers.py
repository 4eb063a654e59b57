"""A fixed number of threads that do small jobs in the order of asking, and places among them.

The threads are daemons, unlike those of the standard library's executor: a process that was told
to stop must not wait for one that hangs in a connection.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import TypeVar

from dap_pipeline.dap.stopping import Stop

T = TypeVar("T")


class Workers:
    """Threads that are started when the first work comes."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._lock = threading.Lock()
        self._threads = 0
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, job: Callable[[], None]) -> None:
        """Do the job when a thread is free; it must not raise."""
        with self._lock:
            if self._threads < self._count:
                name = f"{self._name}-{self._threads + 1}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
                self._threads += 1
            # Within the lock: after the word of `close` to end, nobody would do it.
            self._jobs.put(job)

    def begin(self, job: Callable[[], T]) -> Future[T]:
        """Have a thread do the job, and give what will hold what it gives or raises."""
        done: Future[T] = Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(job())
            except BaseException as error:  # handed to the thread that waits for it
                done.set_exception(error)

        self.submit(run)
        return done

    def result(self, job: Callable[[], T], stop: Stop) -> T:
        """Have a thread do the job and wait for it; what it raises is raised here.

        Raises:
            CancelledError: a stop was asked for while no thread was free.
        """
        return result_of(self.begin(job), stop)

    def close(self) -> None:
        """Let the threads end after the work that was asked for."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)
            self._threads = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def result_of(done: Future[T], stop: Stop) -> T:
    """Wait for a job that was begun; what it raises is raised here.

    Raises:
        CancelledError: a stop was asked for while no thread was free.
    """
    while not wait([done], timeout=0.5).done:
        if stop.is_set() and done.cancel():
            stop.check()
    return done.result()


class Places:
    """A number of places for those who do the same kind of work at the same time."""

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(count)

    @contextlib.contextmanager
    def taken(self, stop: Stop) -> Iterator[None]:
        """Hold a place while the block runs, waiting until one is free.

        Raises:
            CancelledError: a stop was asked for meanwhile.
        """
        while not self._free.acquire(timeout=0.5):
            stop.check()
        try:
            yield
        finally:
            self._free.release()
