"""Why changes cannot be applied to a table, so that a snapshot must be taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dap_pipeline.dap.models import CompleteSnapshot, format_instant, parse_instant
from dap_pipeline.errors import (
    InvalidQueryError,
    OutOfRangeError,
    RequestForbiddenError,
    SnapshotRequiredError,
)
from dap_pipeline.lake.records import PublishedTable


@dataclass(frozen=True)
class Demand:
    """Why changes cannot be applied, and how new a snapshot must be to help."""

    reason: str
    not_before: datetime
    schema_version: int = 0
    """The oldest that helps, at that very instant."""
    made_after: datetime | None = None
    """A snapshot that was begun by then helps whatever its instant; None where none does."""
    unless_same: bool = False
    """Whether nothing needs to be done where DAP's snapshot is of the published state."""
    best_new: bool = False
    """Whether a new job shall tell so, where one can be had: one of before may be outdated."""
    again: bool = False
    """Whether the job that is published already helps, too: its files must be made anew."""

    def is_met_by(self, job: CompleteSnapshot) -> bool:
        """Tell whether a snapshot is new enough."""
        if not is_older(job, self.not_before, self.schema_version):
            return True
        begun, after = job.begun_at, self.made_after
        return begun is not None and after is not None and begun >= after


def is_older(job: CompleteSnapshot, at: datetime, schema_version: int) -> bool:
    """Tell whether a snapshot is of an earlier state, or of an earlier schema at that instant."""
    return (job.at, job.schema_version) < (at, schema_version)


def demand_of(error: OutOfRangeError | RequestForbiddenError, table: PublishedTable) -> Demand:
    """Read out of a refusal how new a snapshot must be.

    One of a table that has been quiet since its load has the load's instant still.
    """
    load, watermark = table.load.at, table.watermark
    version = table.load.schema_version
    if isinstance(error, RequestForbiddenError):
        reason = f"DAP does not permit an incremental query: {error.what}"
        return Demand(reason, load, version, unless_same=True)
    newest, earliest = instant_of(error.until), instant_of(error.since)
    since = f"since {format_instant(watermark)}"
    permitted = "" if earliest is None else f"; permitted is from {format_instant(earliest)}"
    if isinstance(error, SnapshotRequiredError):
        reason = f"the table was reloaded ({since}{permitted})"
        # Rows may have kept their instants, or none is left: then the snapshot's instant is older.
        return Demand(reason, max(earliest or watermark, watermark), made_after=earliest)
    if newest is not None and newest < load:
        after = format_instant(newest)
        reason = f"DAP has nothing of after {after}, and the table is newer"
        return Demand(reason, newest, unless_same=True, again=True)
    # A quiet table has its old instant still: it is enough to know that it is.
    reason = f"DAP does not keep changes that long ({since}{permitted})"
    return Demand(reason, load, version, unless_same=True, best_new=True)


def instant_of(text: str | None) -> datetime | None:
    """Read an instant of a refusal; None where there is none that can be read."""
    try:
        return None if text is None else parse_instant(text)
    except InvalidQueryError:
        return None
