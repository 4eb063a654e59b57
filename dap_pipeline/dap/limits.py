"""Keeps DAP's rate limits for every process on the machine that shares the file.

DAP counts calls per endpoint and minute and answers 429 to those above the limit
(developerdocs, "Limits & policies"). A slot is taken at the moment of the call and never ahead of
it, so a run that is stopped while it waits takes nothing from the others.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from dap_pipeline.dap.disk import make_private
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import StorageError
from dap_pipeline.settings import Settings

# A call reaches DAP a little after its slot was taken, and not always equally late.
MARGIN_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 3600.0

_TABLES = """
CREATE TABLE IF NOT EXISTS calls (scope TEXT, endpoint TEXT, at REAL);
CREATE INDEX IF NOT EXISTS calls_by_endpoint ON calls (scope, endpoint, at);
CREATE TABLE IF NOT EXISTS rests (scope TEXT, endpoint TEXT, since REAL, until REAL,
    PRIMARY KEY (scope, endpoint));
"""


class Endpoint(StrEnum):
    """The endpoints that DAP counts, each on its own."""

    LIST = "list"
    SCHEMA = "schema"
    CREATE = "create"
    POLL = "poll"
    LINKS = "links"


def limits_of(settings: Settings) -> dict[Endpoint, int]:
    """Give the calls a minute of each endpoint as the settings have them."""
    return {
        Endpoint.LIST: settings.lists_per_minute,
        Endpoint.SCHEMA: settings.schemas_per_minute,
        Endpoint.CREATE: settings.creates_per_minute,
        Endpoint.POLL: settings.polls_per_minute,
        Endpoint.LINKS: settings.links_per_minute,
    }


class Limiter:
    """One budget of calls, shared through a SQLite file.

    Args:
        file: made when missing, readable by its owner only.
        limits: calls that each endpoint allows within ``period`` seconds.
        scope: whose budget it is, for example the client id's public half and the host.
    """

    def __init__(
        self,
        file: Path,
        limits: Mapping[Endpoint, int],
        *,
        scope: str = "",
        period: float = 60.0,
        margin: float = MARGIN_SECONDS,
    ) -> None:
        self._file = file
        self._limits = dict(limits)
        self._scope = scope
        self._period = period + margin
        self._make_file()

    def acquire(self, endpoint: Endpoint, stop: Stop) -> None:
        """Wait until a call to the endpoint is allowed, and take its slot.

        Raises:
            CancelledError: a stop was asked for meanwhile.
        """
        stop.check()
        while (seconds := self._try_to_take(endpoint)) > 0:
            stop.wait(seconds)

    def pause(self, endpoint: Endpoint, seconds: float) -> None:
        """Let nobody call the endpoint for so long: DAP has answered 429."""
        with self._transaction() as db:
            now = _now()
            _forget(db, now, self._period)
            db.execute(
                "INSERT INTO rests VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET until = max(until, excluded.until)",
                (self._scope, endpoint.value, now, now + min(seconds, LONGEST_PAUSE_SECONDS)),
            )

    def _try_to_take(self, endpoint: Endpoint) -> float:
        """Take a slot, or tell after how many seconds to try again."""
        key = (self._scope, endpoint.value)
        with self._transaction() as db:
            now = _now()
            _forget(db, now, self._period)
            rest = db.execute("SELECT until FROM rests WHERE scope = ? AND endpoint = ?", key)
            if row := rest.fetchone():
                return max(float(row[0]) - now, 0.001)
            calls = db.execute(
                "SELECT at FROM calls WHERE scope = ? AND endpoint = ? ORDER BY at DESC LIMIT ?",
                (*key, self._limits[endpoint]),
            ).fetchall()
            if len(calls) == self._limits[endpoint]:
                return max(float(calls[-1][0]) + self._period - now, 0.001)
            db.execute("INSERT INTO calls VALUES (?, ?, ?)", (*key, now))
            return 0.0

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(
                sqlite3.connect(self._file, timeout=60, isolation_level=None)
            ) as db:
                # What a power failure would lose is forgotten within a minute anyway.
                db.execute("PRAGMA synchronous = OFF")
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(f"the rate limiter's file {self._file} fails: {error}") from error

    def _make_file(self) -> None:
        try:
            make_private(self._file.parent)
            self._file.touch(mode=0o600)
            with contextlib.closing(sqlite3.connect(self._file, timeout=60)) as db:
                db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{self._file} cannot be written: {error}") from error


def _forget(db: sqlite3.Connection, now: float, period: float) -> None:
    """Drop what is over, and what comes later than now: it is from before the machine's restart."""
    db.execute("DELETE FROM calls WHERE at <= ? OR at > ?", (now - period, now))
    db.execute("DELETE FROM rests WHERE until <= ? OR since > ?", (now, now))


def _now() -> float:
    # Counts on through changes of the wall clock, and is the same in every process.
    return time.monotonic()
