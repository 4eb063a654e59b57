"""Keeps DAP's rate limits for every process on the machine that shares the file.

DAP counts calls per endpoint and minute and answers 429 to those above the limit
(developerdocs, "Limits & policies"). A slot is taken at the moment of the call and never ahead of
it, so a run that is stopped while it waits takes nothing from the others.

A 429 tells that DAP allows less than the setting says, or that somebody else uses the same
credentials: from then on half as many calls are made, and each minute some more again, up to the
setting. So the number settles near what DAP allows, whoever else calls.
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
from dap_pipeline.settings import LimitsCount, Settings

# A call reaches DAP a little after its slot was taken, and not always equally late.
MARGIN_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 3600.0

_TABLES = """
CREATE TABLE IF NOT EXISTS calls (scope TEXT, endpoint TEXT, at REAL);
CREATE INDEX IF NOT EXISTS calls_by_endpoint ON calls (scope, endpoint, at);
CREATE TABLE IF NOT EXISTS rests (scope TEXT, endpoint TEXT, since REAL, until REAL,
    PRIMARY KEY (scope, endpoint));
CREATE TABLE IF NOT EXISTS learned (scope TEXT, endpoint TEXT, since REAL, calls INTEGER,
    PRIMARY KEY (scope, endpoint));
"""


_Key = tuple[str, str]
"""Scope and counted endpoint."""


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
        count: whether all tables share the budget of an endpoint, or each has its own.
    """

    def __init__(
        self,
        file: Path,
        limits: Mapping[Endpoint, int],
        *,
        scope: str = "",
        count: LimitsCount = LimitsCount.ACCOUNT,
        period: float = 60.0,
        margin: float = MARGIN_SECONDS,
    ) -> None:
        self._file = file
        self._limits = dict(limits)
        self._scope = scope
        self._count = count
        self._period = period + margin
        self._make_file()

    def acquire(self, endpoint: Endpoint, stop: Stop, *, table: str = "") -> None:
        """Wait until a call to the endpoint is allowed, and take its slot.

        Args:
            endpoint: where the call goes.
            stop: ends the wait.
            table: the table that the call names, for budgets that are counted per table.

        Raises:
            CancelledError: a stop was asked for meanwhile.
        """
        stop.check()
        key = self._key(endpoint, table)
        while (seconds := self._try_to_take(key, self._limits[endpoint])) > 0:
            stop.wait(seconds)

    def pause(self, endpoint: Endpoint, seconds: float, *, table: str = "") -> None:
        """Let nobody call the endpoint for so long, and fewer times after that: it answered 429."""
        key = self._key(endpoint, table)
        with self._transaction() as db:
            now = _now()
            _forget(db, now, self._period)
            if _rest(db, key) is None:
                # Calls that were refused together are one sign and not many.
                fewer = max(self._allowed(db, key, self._limits[endpoint], now) // 2, 1)
                db.execute("REPLACE INTO learned VALUES (?, ?, ?, ?)", (*key, now, fewer))
            db.execute(
                "INSERT INTO rests VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET until = max(until, excluded.until)",
                (*key, now, now + min(seconds, LONGEST_PAUSE_SECONDS)),
            )

    def _key(self, endpoint: Endpoint, table: str) -> _Key:
        per_table = table and self._count is LimitsCount.TABLE
        return self._scope, f"{endpoint.value} {table}" if per_table else endpoint.value

    def _try_to_take(self, key: _Key, limit: int) -> float:
        """Take a slot, or tell after how many seconds to try again."""
        with self._transaction() as db:
            now = _now()
            _forget(db, now, self._period)
            if (until := _rest(db, key)) is not None:
                return max(until - now, 0.001)
            allowed = self._allowed(db, key, limit, now)
            first = db.execute(
                "SELECT at FROM calls WHERE scope = ? AND endpoint = ?"
                " ORDER BY at DESC LIMIT 1 OFFSET ?",
                (*key, allowed - 1),
            ).fetchone()
            if first is not None:
                return max(float(first[0]) + self._period - now, 0.001)
            db.execute("INSERT INTO calls VALUES (?, ?, ?)", (*key, now))
            return 0.0

    def _allowed(self, db: sqlite3.Connection, key: _Key, limit: int, now: float) -> int:
        """Give the calls a minute: the setting, or less while a refusal is remembered."""
        row = db.execute("SELECT since, calls FROM learned WHERE scope = ? AND endpoint = ?", key)
        if (learned := row.fetchone()) is None:
            return limit
        minutes = int((now - float(learned[0])) / self._period)
        return min(int(learned[1]) + minutes * max(limit // 10, 1), limit)

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
    db.execute("DELETE FROM learned WHERE since > ?", (now,))


def _rest(db: sqlite3.Connection, key: _Key) -> float | None:
    """Give the end of the rest that the endpoint is given, if there is one."""
    row = db.execute("SELECT until FROM rests WHERE scope = ? AND endpoint = ?", key).fetchone()
    return None if row is None else float(row[0])


def _now() -> float:
    # Counts on through changes of the wall clock, and is the same in every process.
    return time.monotonic()
