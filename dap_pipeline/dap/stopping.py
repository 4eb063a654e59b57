"""Waiting that ends early when the user asks to stop."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from dap_pipeline.errors import CancelledError

# How soon an exception that Dagster or Ctrl-C raises in a waiting thread gets through.
_SLICE_SECONDS = 0.5


class Stop:
    """A request to stop, shared by every thread of a piece of work.

    Args:
        parent: a wider piece of work; when it stops, this one does too.
    """

    def __init__(self, parent: Stop | None = None) -> None:
        self._parent = parent
        self._event = threading.Event()
        self._lock = threading.RLock()
        self._wakers: list[Callable[[], None]] = []

    def set(self) -> None:
        """Ask all who wait or check to stop, and wake those who read from the network."""
        self._event.set()
        # Under the lock, so that none is woken whose block has ended: its connection may by then
        # serve another download.
        with self._lock:
            for wake in list(self._wakers):
                # A body that has just been read to its end cannot be woken, and need not be.
                with contextlib.suppress(Exception):
                    wake()

    def is_set(self) -> bool:
        """Tell whether a stop was asked for, here or in the wider work."""
        return self._event.is_set() or (self._parent is not None and self._parent.is_set())

    def check(self) -> None:
        """Raise CancelledError when a stop was asked for."""
        if self.is_set():
            raise CancelledError("the run was stopped")

    def wait(self, seconds: float) -> None:
        """Wait so many seconds.

        Raises:
            CancelledError: a stop was asked for before or meanwhile.
        """
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            self._event.wait(min(left, _SLICE_SECONDS))
            self.check()

    @contextlib.contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call ``wake`` when a stop is asked for while the block runs."""
        with self._lock:
            self._wakers.append(wake)
        try:
            with self._parent.waking(wake) if self._parent else contextlib.nullcontext():
                self.check()
                yield
        finally:
            with self._lock:
                self._wakers.remove(wake)
