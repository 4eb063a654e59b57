"""Chooses the tables that a scheduled run takes as snapshots.

Each table has a turn of its own among the ticks between two snapshots, so no day takes all tables.
A turn that passed while the machine was off is made up for, some tables at a tick.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dap_pipeline.dap.models import TableName

# A table whose snapshot fails each time takes what changed at the ticks in between. Five ticks are
# no whole number of days: a machine that is off every night does not miss all tries of a table.
_MOST_TICKS_BETWEEN_TRIES = 5
_TENTH = 10


@dataclass(frozen=True)
class Turns:
    """The ticks of a schedule, and the span in which each table is to be taken once."""

    rhythm: timedelta
    every: timedelta

    @property
    def count(self) -> int:
        """How many ticks the span has; one that is shorter than the rhythm ends at each tick."""
        return max(1, self.every // self.rhythm)

    @property
    def ticks_between_tries(self) -> int:
        """At each how many ticks an overdue table is tried."""
        return max(1, min(_MOST_TICKS_BETWEEN_TRIES, self.count // _TENTH))

    def most(self, tables: int) -> int:
        """Tell how many tables a tick takes where no more have their turn: twice the fair share."""
        return 2 * -(-tables // self.count)

    def is_own(self, name: TableName, now: datetime) -> bool:
        """Tell whether a tick is the table's turn."""
        return self._falls_on(name, now, self.count)

    def is_for_overdue(self, name: TableName, now: datetime) -> bool:
        """Tell whether a tick tries the table if it is overdue."""
        return self._falls_on(name, now, self.ticks_between_tries)

    def _falls_on(self, name: TableName, now: datetime, ticks: int) -> bool:
        own = int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:8])
        return int(now.timestamp() // self.rhythm.total_seconds()) % ticks == own % ticks


def snapshots_due(
    names: Collection[TableName],
    last: Mapping[TableName, datetime | None],
    now: datetime,
    turns: Turns,
) -> set[TableName]:
    """Choose the tables to take as snapshots at a tick: whose turn it is, and who is overdue.

    Passed over at its turn is a table that had a snapshot within half the span.

    Args:
        names: the tables of the schedule.
        last: when each table of the lake had its last snapshot; None where that is unknown, and
            its turn alone counts. A table that is not in the lake takes a snapshot anyway.
        now: the instant of the tick.
        turns: the rhythm of the schedule and the span; without a span, no table is ever due.
    """
    if not turns.every:
        return set()
    there = [name for name in names if name in last]
    due = {
        name
        for name in there
        if turns.is_own(name, now) and not _is_within(last[name], now, turns.every / 2)
    }
    overdue = sorted(
        (at, name)
        for name in there
        if (at := last[name]) is not None
        and name not in due
        and not _is_within(at, now, turns.every)
        and turns.is_for_overdue(name, now)
    )
    room = max(0, turns.most(len(names)) - len(due))
    return due | {name for _, name in overdue[:room]}


def _is_within(at: datetime | None, now: datetime, span: timedelta) -> bool:
    return at is not None and now - at < span
