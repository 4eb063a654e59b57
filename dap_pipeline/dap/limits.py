"""Keeps DAP's rate limits for every process on the machine that shares the file.

DAP counts calls per endpoint and minute and answers 429 to those above the limit
(developerdocs, "Limits & policies"). A slot is taken at the moment of the call and never ahead of
it, so a run that is stopped while it waits takes nothing from the others.

A 429 tells that DAP allows less than the setting says, or that somebody else uses the same
credentials: from then on half as many calls are made, and each minute some more again, up to the
setting. So the number settles near what DAP allows, whoever else calls.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path

from dap_pipeline.dap.limits_file import LimitsFile
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import RateLimitedError
from dap_pipeline.settings import LimitsCount, Settings

_LOG = logging.getLogger(__name__)

# A call reaches DAP a little after its slot was taken, and not always equally late.
MARGIN_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 3600.0
# A rest from this length on is told in the log, once.
TOLD_SECONDS = 5.0

_Key = tuple[str, str]
"""Scope and counted endpoint."""


@dataclass(frozen=True)
class _Wait:
    """How long to wait before the next look, and whether it is for a rest after a 429."""

    seconds: float
    is_rest: bool = False


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
        self._file = LimitsFile(file)
        self._limits = dict(limits)
        self._scope = scope
        self._count = count
        self._period = period + margin
        self._told: dict[_Key, float] = {}

    def acquire(
        self, endpoint: Endpoint, stop: Stop, *, table: str = "", longest_rest: float = math.inf
    ) -> None:
        """Wait until a call to the endpoint is allowed, and take its slot.

        Args:
            endpoint: where the call goes.
            stop: ends the wait.
            table: the table that the call names, for budgets that are counted per table.
            longest_rest: seconds that rests after a 429 are waited for in all.

        Raises:
            CancelledError: a stop was asked for meanwhile.
            RateLimitedError: DAP wants no such call for longer than that.
        """
        stop.check()
        key = self._key(endpoint, table)
        take = partial(self._try_to_take, key, self._limits[endpoint])
        rested = 0.0
        while (wait := self._file.transact(take, stop)) is not None:
            if wait.is_rest:
                rested += wait.seconds
                if rested > longest_rest:
                    raise _wants_rest(endpoint, wait)
                self._tell(endpoint, key, wait)
            stop.wait(wait.seconds)

    def pause(self, endpoint: Endpoint, seconds: float, *, table: str = "") -> None:
        """Let nobody call the endpoint for so long, and fewer times after that: it answered 429."""
        rest = partial(self._rest, self._key(endpoint, table), self._limits[endpoint], seconds)
        self._file.transact(rest, Stop())

    def _rest(self, key: _Key, limit: int, seconds: float, db: sqlite3.Connection) -> None:
        now = _now()
        _forget(db, now, self._period)
        if _rest_until(db, key) is None:
            # Calls that were refused together are one sign and not many.
            fewer = max(self._allowed(db, key, limit, now) // 2, 1)
            db.execute("REPLACE INTO learned VALUES (?, ?, ?, ?)", (*key, now, fewer))
        db.execute(
            "INSERT INTO rests VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET until = max(until, excluded.until)",
            (*key, now, now + min(seconds, LONGEST_PAUSE_SECONDS)),
        )

    def _key(self, endpoint: Endpoint, table: str) -> _Key:
        per_table = table and self._count is LimitsCount.TABLE
        return self._scope, f"{endpoint.value} {table}" if per_table else endpoint.value

    def _try_to_take(self, key: _Key, limit: int, db: sqlite3.Connection) -> _Wait | None:
        """Take a slot, or tell what to wait for."""
        now = _now()
        _forget(db, now, self._period)
        if (until := _rest_until(db, key)) is not None:
            return _Wait(max(until - now, 0.001), is_rest=True)
        allowed = self._allowed(db, key, limit, now)
        first = db.execute(
            "SELECT at FROM calls WHERE scope = ? AND endpoint = ?"
            " ORDER BY at DESC LIMIT 1 OFFSET ?",
            (*key, allowed - 1),
        ).fetchone()
        if first is not None:
            return _Wait(max(float(first[0]) + self._period - now, 0.001))
        db.execute("INSERT INTO calls VALUES (?, ?, ?)", (*key, now))
        return None

    def _tell(self, endpoint: Endpoint, key: _Key, wait: _Wait) -> None:
        """Say once for each rest of some length that it is waited for."""
        until = _now() + wait.seconds
        if wait.seconds >= TOLD_SECONDS and until > self._told.get(key, 0.0) + TOLD_SECONDS:
            self._told[key] = until
            _LOG.warning("%s; waiting for that", _wants_rest(endpoint, wait).what)

    def _allowed(self, db: sqlite3.Connection, key: _Key, limit: int, now: float) -> int:
        """Give the calls a minute: the setting, or less while a refusal is remembered."""
        row = db.execute("SELECT since, calls FROM learned WHERE scope = ? AND endpoint = ?", key)
        if (learned := row.fetchone()) is None:
            return limit
        minutes = int((now - float(learned[0])) / self._period)
        return min(int(learned[1]) + minutes * max(limit // 10, 1), limit)


def _wants_rest(endpoint: Endpoint, wait: _Wait) -> RateLimitedError:
    until = datetime.now(UTC).astimezone() + timedelta(seconds=wait.seconds)
    return RateLimitedError(
        f"DAP has answered 429 and allows no {endpoint} calls until {until:%H:%M:%S}",
        retry_after=wait.seconds,
        advice="Run it again after that; a longer patience is the setting "
        "DAP_PIPELINE_RETRY_SECONDS.",
    )


def _forget(db: sqlite3.Connection, now: float, period: float) -> None:
    """Drop what is over, and what comes later than now: it is from before the machine's restart."""
    db.execute("DELETE FROM calls WHERE at <= ? OR at > ?", (now - period, now))
    db.execute("DELETE FROM rests WHERE until <= ? OR since > ?", (now, now))
    db.execute("DELETE FROM learned WHERE since > ?", (now,))


def _rest_until(db: sqlite3.Connection, key: _Key) -> float | None:
    """Give the end of the rest that the endpoint is given, if there is one."""
    row = db.execute("SELECT until FROM rests WHERE scope = ? AND endpoint = ?", key).fetchone()
    return None if row is None else float(row[0])


def _now() -> float:
    # Counts on through changes of the wall clock, and is the same in every process.
    return time.monotonic()
