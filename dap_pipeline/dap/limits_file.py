"""The SQLite file in which all processes count their calls: made anew when it is damaged.

It holds nothing that is missed for longer than a minute or so.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dap_pipeline.dap.disk import make_private
from dap_pipeline.dap.locking import file_lock
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import StorageError

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_TABLES = """
CREATE TABLE IF NOT EXISTS calls (scope TEXT, endpoint TEXT, at REAL);
CREATE INDEX IF NOT EXISTS calls_by_endpoint ON calls (scope, endpoint, at);
CREATE TABLE IF NOT EXISTS rests (scope TEXT, endpoint TEXT, since REAL, until REAL,
    PRIMARY KEY (scope, endpoint));
CREATE TABLE IF NOT EXISTS learned (scope TEXT, endpoint TEXT, since REAL, calls INTEGER,
    PRIMARY KEY (scope, endpoint));
"""
# How long the file may be locked by others, and how soon a stop is heard meanwhile.
_BUSY_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TRIES = 3


class LimitsFile:
    """Runs transactions on the file, one at a time over all processes.

    Args:
        file: made when missing, readable by its owner only.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._transact(lambda _: None, Stop(), is_suspect=True)

    def transact(self, work: Callable[[sqlite3.Connection], T], stop: Stop) -> T:
        """Do the work in one transaction; it may be begun more than once.

        Raises:
            CancelledError: a stop was asked for while others had the file.
            StorageError: the file cannot be used, nor made anew.
        """
        return self._transact(work, stop, is_suspect=False)

    def _transact(
        self, work: Callable[[sqlite3.Connection], T], stop: Stop, *, is_suspect: bool
    ) -> T:
        end, failures = time.monotonic() + _BUSY_SECONDS, 0
        while True:
            try:
                if is_suspect:
                    self._mend(stop)
                return self._once(work)
            except sqlite3.Error as error:
                busy = _code(error) in _BUSY
                failures += not busy
                if failures == _TRIES or time.monotonic() > end:
                    raise self._failure(error) from error
                is_suspect = is_suspect or not busy
            except OSError as error:
                raise self._failure(error) from error
            stop.check()

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with contextlib.closing(self._connect()) as db:
            # What a power failure would lose is forgotten within a minute anyway.
            db.execute("PRAGMA synchronous = OFF")
            db.execute("BEGIN IMMEDIATE")
            result = work(db)
            db.execute("COMMIT")
            return result

    def _mend(self, stop: Stop) -> None:
        """Make what is missing, and the whole file anew when it is damaged."""
        make_private(self._file.parent)
        with file_lock(self._file.with_suffix(".lock"), stop):
            if self._file.exists():
                with contextlib.closing(self._connect()) as db:
                    if not _is_sound(db):
                        self._remove()
            self._file.touch(mode=0o600)
            with contextlib.closing(self._connect()) as db:
                db.executescript(_TABLES)

    def _remove(self) -> None:
        # Nobody is within a transaction meanwhile, as the caller has locked the file; who opened it
        # before is told by SQLite that it has moved.
        _LOG.warning(
            "%s was damaged and is made anew: the calls of the last minute are not counted",
            self._file,
        )
        self._file.unlink()
        self._file.with_name(f"{self._file.name}-journal").unlink(missing_ok=True)

    def _connect(self) -> sqlite3.Connection:
        # Never made by SQLite, which would let others read it.
        uri = f"{self._file.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=_LOOK_SECONDS, isolation_level=None)

    def _failure(self, error: sqlite3.Error | OSError) -> StorageError:
        what = f"the rate limiter's file {self._file} cannot be used: {error}"
        if _is_full(error):
            return StorageError(what)
        return StorageError(
            what,
            advice="Remove the file, which holds only the calls of the last minute, or set "
            "DAP_PIPELINE_SHARED_DIR to another folder.",
        )


def _is_sound(db: sqlite3.Connection) -> bool:
    """Lock the file for everybody else, and look through it."""
    try:
        db.execute("BEGIN EXCLUSIVE")
        return bool(db.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
    except sqlite3.Error as error:
        if _code(error) in _DAMAGED:
            return False
        raise


def _is_full(error: sqlite3.Error | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return _code(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def _code(error: sqlite3.Error) -> int:
    """Give the kind of a failure; the upper bits say more."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
