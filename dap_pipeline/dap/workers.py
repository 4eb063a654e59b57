"""A fixed number of threads that do small jobs in the order of asking.

The threads are daemons, unlike those of the standard library's executor: a process that was told
to stop must not wait for one that hangs in a connection.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


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

    def close(self) -> None:
        """Let the threads end after the work that was asked for."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)
            self._threads = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
