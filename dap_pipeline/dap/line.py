"""The line in which processes stand that have waited for something that all of them want.

Each has a file that is named by the time of its coming, and that it locks: who was killed is passed
over.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_SUFFIX = ".waiting"
# Behind every name, as they begin with digits.
_LAST = "~"


class Line:
    """Who stands in it has its turn before all who came later, or do not stand in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_empty(self) -> bool:
        """Tell whether nobody stands in the line."""
        return not self._ahead_of(_LAST)

    @contextlib.contextmanager
    def joined(self) -> Iterator[Callable[[], bool]]:
        """Stand in the line while the block runs; gives what tells whether our turn has come."""
        # Counts on through changes of the wall clock, and is the same in every process.
        name = f"{time.monotonic_ns():020d}-{os.getpid()}{_SUFFIX}"
        file = self._folder / name
        with FileLock(file, mode=0o600):
            try:
                yield lambda: not self._ahead_of(name)
            finally:
                file.unlink(missing_ok=True)

    def _ahead_of(self, name: str) -> bool:
        """Tell whether somebody is in line before this name."""
        standing = self._folder.glob(f"*{_SUFFIX}")
        return any(_is_held(file) for file in sorted(standing) if file.name < name)


def _is_held(file: Path) -> bool:
    """Tell whether a process stands there; what one has left behind that was killed is removed."""
    lock = FileLock(file, mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    file.unlink(missing_ok=True)
    lock.release()
    return False
