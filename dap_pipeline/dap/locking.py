"""Locks between processes that give way when the user asks to stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import StorageError


@contextlib.contextmanager
def file_lock(file: Path, stop: Stop) -> Iterator[None]:
    """Hold the lock while the block runs, waiting for it as long as it takes.

    Raises:
        CancelledError: a stop was asked for while another process had the lock.
        StorageError: the lock file cannot be made.
    """
    lock = FileLock(file, mode=0o600)
    while True:
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            stop.check()
        except OSError as error:
            raise StorageError(f"{file} cannot be written: {error.strerror}") from error
        else:
            break
    try:
        yield
    finally:
        lock.release()
