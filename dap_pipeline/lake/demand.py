"""Why changes cannot be applied to a table, so that a snapshot must be taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dap_pipeline.dap.models import format_instant, parse_instant
from dap_pipeline.errors import (
    DapError,
    InvalidQueryError,
    OutOfRangeError,
    SnapshotRequiredError,
)


@dataclass(frozen=True)
class Demand:
    """Why changes cannot be applied, and how new a snapshot must be to help."""

    reason: str
    not_before: datetime | None = None
    """None where any snapshot helps."""
    schema_version: int = 0
    """The oldest that helps, at that very instant."""
    again: bool = False
    """Whether the job that is published already helps, too: its files must be made anew."""


def demand_of(error: DapError, watermark: datetime) -> Demand:
    """Read out of a refusal how new a snapshot must be."""
    if not isinstance(error, OutOfRangeError):
        return Demand(f"DAP does not permit an incremental query: {error.what}")
    newest, earliest = instant_of(error.until), instant_of(error.since)
    if newest is not None and newest < watermark:
        after = format_instant(newest)
        return Demand(f"DAP has nothing of after {after}, and the table is newer")
    what = (
        "the table was reloaded"
        if isinstance(error, SnapshotRequiredError)
        else "DAP does not keep changes that long"
    )
    since = f"since {format_instant(watermark)}"
    permitted = "" if earliest is None else f"; permitted is from {format_instant(earliest)}"
    return Demand(f"{what} ({since}{permitted})", max(earliest or watermark, watermark))


def instant_of(text: str | None) -> datetime | None:
    """Read an instant of a refusal; None where there is none that can be read."""
    try:
        return None if text is None else parse_instant(text)
    except InvalidQueryError:
        return None
