"""DAP's pacing on one page: the calls of the last minute, and what a 429 has taught.

All of it runs within one transaction on the file that the processes share.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(frozen=True)
class Wait:
    """How long to wait before the next look, and whether it is for a rest after a 429."""

    seconds: float
    is_rest: bool = False


def now() -> float:
    """Tell the time in seconds; only differences mean something."""
    # Counts on through changes of the wall clock, and is the same in every process.
    return time.monotonic()


class Budget:
    """The calls that one endpoint allows, as an open transaction sees them.

    Args:
        db: the transaction.
        key: scope and counted endpoint.
        limit: calls within a period, as the setting says.
        period: seconds.
    """

    def __init__(
        self, db: sqlite3.Connection, key: tuple[str, str], limit: int, period: float
    ) -> None:
        self._db, self._key, self._limit, self._period = db, key, limit, period
        self._now = now()
        self._forget()

    def take(self) -> Wait | None:
        """Take a slot, or tell what to wait for: the end of a rest, or of a call's minute."""
        if (until := self._rest_until()) is not None:
            return Wait(max(until - self._now, 0.001), is_rest=True)
        first = self._db.execute(
            "SELECT at FROM calls WHERE scope = ? AND endpoint = ?"
            " ORDER BY at DESC LIMIT 1 OFFSET ?",
            (*self._key, self._allowed() - 1),
        ).fetchone()
        if first is not None:
            return Wait(max(float(first[0]) + self._period - self._now, 0.001))
        self._db.execute("INSERT INTO calls VALUES (?, ?, ?)", (*self._key, self._now))
        return None

    def rest(self, seconds: float) -> None:
        """Allow nothing for so long, and half as much from then on."""
        if self._rest_until() is None:
            # Calls that were refused together are one sign and not many.
            fewer = max(self._allowed() // 2, 1)
            self._db.execute(
                "REPLACE INTO learned VALUES (?, ?, ?, ?)", (*self._key, self._now, fewer)
            )
        self._db.execute(
            "INSERT INTO rests VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET until = max(until, excluded.until)",
            (*self._key, self._now, self._now + min(seconds, LONGEST_PAUSE_SECONDS)),
        )

    def _allowed(self) -> int:
        """Give the calls of a period: the setting, or less while a refusal is remembered."""
        learned = self._row("SELECT since, calls FROM learned")
        if learned is None:
            return self._limit
        since, calls = learned
        periods = int((self._now - since) / self._period)
        return min(int(calls) + periods * max(self._limit // 10, 1), self._limit)

    def _rest_until(self) -> float | None:
        row = self._row("SELECT until FROM rests")
        return None if row is None else row[0]

    def _row(self, query: str) -> tuple[float, ...] | None:
        row = self._db.execute(f"{query} WHERE scope = ? AND endpoint = ?", self._key).fetchone()
        return None if row is None else tuple(map(float, row))

    def _forget(self) -> None:
        """Drop what is over, and what comes later: it is from before the machine's restart."""
        moment, begin = self._now, self._now - self._period
        self._db.execute("DELETE FROM calls WHERE at <= ? OR at > ?", (begin, moment))
        self._db.execute("DELETE FROM rests WHERE until <= ? OR since > ?", (moment, moment))
        self._db.execute("DELETE FROM learned WHERE since > ?", (moment,))
