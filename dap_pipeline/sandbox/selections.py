"""Which rows of a table a query returns, and which ranges are refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from . import errors
from .dialect import quoted
from .queries import Query
from .store import StoredTable, naive

LOG_NAMESPACE = "canvas_logs"
LOG_RETENTION = timedelta(days=30)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Selection:
    """The rows of one job: those of a snapshot, or of an increment if `since` is set.

    `since` is exclusive, `until` inclusive: of DAP's two contradicting texts, the one that fits
    the documented default of `until`, the commit time of the newest record.
    """

    table: StoredTable
    until: datetime
    since: datetime | None = None
    oldest_kept: datetime | None = None

    @property
    def incremental(self) -> bool:
        """Whether the rows carry `meta.action`."""
        return self.since is not None

    def sql(self, columns: list[str]) -> str:
        """Write the SELECT over the given expressions, ordered by key."""
        conditions = [f"meta_ts <= {_timestamp(self.until)}"]
        if self.since is not None:
            conditions.append(f"meta_ts > {_timestamp(self.since)}")
        else:
            conditions.append("meta_action <> 'D'")
        if self.oldest_kept is not None:
            conditions.append(f"meta_ts >= {_timestamp(self.oldest_kept)}")
        order = ", ".join(quoted(field.name) for field in self.table.fields.key)
        # Keys of canvas_logs may repeat: the commit time keeps the order of such rows steady.
        return (
            f"SELECT {', '.join(columns)} FROM {self.table.sql_name}"
            f" WHERE {' AND '.join(conditions)} ORDER BY {order}, meta_ts"
        )


class OldRanges(StrEnum):
    """What becomes of an increment that begins before what is kept."""

    REFUSED = "refused"
    """It is out of range, as documented."""
    CLIPPED = "clipped"
    """It begins with what is kept, and its answer says so."""
    SHORTENED = "shortened"
    """It lacks what is not kept, and its answer names the range that was asked for."""


@dataclass(frozen=True)
class History:
    """How far back increments reach: DAP keeps that to itself, but for 30 days of `canvas_logs`.

    `kept` is None for all the way. It is counted from the newest commit of the school, and the
    newest commit of the table is always allowed, as nothing is missed; or it moves with the clock
    (`by_clock`), past the newest commit of a quiet table.
    """

    kept: timedelta | None = None
    by_clock: bool = False
    old_ranges: OldRanges = OldRanges.REFUSED


def select_rows(
    table: StoredTable, query: Query, newest: datetime, present: datetime, history: History
) -> Selection:
    """Choose the rows of a query; raises ApiError 400 for a range that the table cannot serve.

    `newest` is the commit time of the table, `present` is what the history is counted from.
    """
    is_log = table.namespace == LOG_NAMESPACE
    kept = LOG_RETENTION if is_log else history.kept
    earliest = _EPOCH if kept is None else present - kept
    oldest_kept = earliest if is_log else None
    if query.since is None:
        return Selection(table, newest, None, oldest_kept)
    if table.reloaded_at is not None and query.since < table.reloaded_at:
        raise errors.snapshot_required(table.reloaded_at, newest)
    permitted = earliest if history.by_clock else min(earliest, newest)
    is_old = query.since < permitted
    if query.since > newest or (is_old and history.old_ranges is OldRanges.REFUSED):
        message = "There is no data in the requested range."
        raise errors.out_of_range(message, permitted, max(permitted, newest))
    if query.until is not None and query.until < query.since:
        message = "The end of the range lies before its start."
        raise errors.out_of_range(message, permitted, newest)
    # A later end than the newest commit would make the next increment miss what comes between.
    until = newest if query.until is None else min(query.until, newest)
    if is_old and history.old_ranges is OldRanges.CLIPPED:
        return Selection(table, until, min(permitted, until), oldest_kept)
    return Selection(table, until, query.since, permitted if is_old else oldest_kept)


def _timestamp(instant: datetime) -> str:
    return f"TIMESTAMP '{naive(instant).isoformat(sep=' ')}'"
