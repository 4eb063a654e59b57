"""What the lake tells about its tables and loads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from dap_pipeline.dap.models import TableName, format_instant
from dap_pipeline.lake.checked import Checked, Loaded
from dap_pipeline.lake.columns import TableShape

if TYPE_CHECKING:
    # They read and write Parquet, and need `LoadKind` for it.
    from dap_pipeline.lake.evolution import ShapeChange
    from dap_pipeline.lake.merging.merge import BaseFile, ChangeCounts


NOTHING_NEWER = "DAP has nothing newer"
"""Why mostly nothing is done."""


class LoadMode(StrEnum):
    """What a load is asked to do."""

    SNAPSHOT = "snapshot"
    """Take the whole table."""
    INCREMENTAL = "incremental"
    """Take what changed since the published version, or fail."""
    AUTO = "auto"
    """Take what changed where that is possible, else the whole table."""


class LoadKind(StrEnum):
    """What a load brings: the whole table, or what changed."""

    SNAPSHOT = "snapshot"
    INCREMENTAL = "incremental"


@dataclass(frozen=True)
class Gap:
    """A span of time whose rows DAP had dropped, if there were any, before they were loaded."""

    since: datetime
    until: datetime

    def __str__(self) -> str:
        """Say what may be lost, and how to lose no more."""
        since, until = format_instant(self.since), format_instant(self.until)
        return (
            f"Rows from {since} to {until} may be lost: DAP had dropped what there was of that "
            "time before it was loaded. Load this table more often."
        )


@dataclass(frozen=True)
class LoadRecord:
    """One load as its commit tells it."""

    kind: LoadKind
    job_id: str
    schema_version: int
    at: datetime
    """DAP's instant that identifies the table's state after the load (``at`` or ``until``)."""
    since: datetime | None
    """Where an increment began; None for a snapshot."""
    committed_at: datetime
    version: int
    rows: int
    """Rows of the whole table after the load."""
    mode: LoadMode = LoadMode.SNAPSHOT
    reason: str = ""
    """Why it was a snapshot though changes were asked for; empty where nothing is to be said."""
    counts: ChangeCounts | None = None
    """What became of the keys; None where a snapshot has another key than before."""
    schema_changes: tuple[ShapeChange, ...] = ()
    gap: Gap | None = None
    restored_from: int | None = None
    """The version that was brought back; all but version and committed_at are of its load."""
    lineage: int = 0
    """The version that the last restore made: the same job may be applied again after it."""
    snapshot_at: datetime | None = None
    """When the last snapshot was committed, or DAP last had nothing newer than it; None where the
    commit does not tell, as of before it was kept."""
    changes_file: str | None = None
    """Name of the file in ``_changes`` that came with the load."""

    @property
    def loaded(self) -> Loaded:
        """Name the load as the notes of checks do; a version that was brought back has the name."""
        return Loaded(self.at, self.job_id)


@dataclass(frozen=True)
class PublishedTable:
    """The current version of a table: its files, shape and last load."""

    name: TableName
    version: int
    files: tuple[str, ...]
    """Absolute paths or addresses of the Parquet files."""
    rows: int
    bytes: int
    shape: TableShape
    load: LoadRecord
    checked: Checked
    base: tuple[BaseFile, ...] = ()
    """The same files with their rows, bytes and key bounds, from the log."""

    @property
    def watermark(self) -> datetime:
        """DAP's instant of the table's state, from which the next increment goes on.

        It is that of the load, or a later one up to which nothing came after it.
        """
        return max(self.load.at, self.checked.until)

    @property
    def checked_at(self) -> datetime:
        """When DAP last said that this is the table's state; a quiet table has an old load."""
        # Who brings an earlier version back does not ask DAP.
        load = self.load
        asked = load.committed_at if load.restored_from is None else load.at
        return asked if self.checked.at is None else max(asked, self.checked.at)

    @property
    def snapshot_at(self) -> datetime | None:
        """When the table was last known to be as a snapshot has it; None where that is unknown.

        A snapshot of DAP's newest instant is as good as one of when DAP had nothing newer. Where
        increments brought nothing, only they say so.
        """
        load = self.load
        is_newest = load.kind is LoadKind.SNAPSHOT and self.watermark == load.at
        return self.checked_at if is_newest and load.restored_from is None else load.snapshot_at


class Outcome(StrEnum):
    """How a load ended when it did not fail."""

    LOADED = "loaded"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class LoadResult:
    """What a load did, and what is published after it."""

    outcome: Outcome
    table: PublishedTable
    previous_rows: int | None
    """Rows before the load; None where the table was not there."""
    objects: int
    downloaded_bytes: int
    seconds_waiting: float
    seconds_downloading: float
    seconds_rewriting: float
    mode: LoadMode = LoadMode.SNAPSHOT
    """What was asked for; ``table.load.kind`` is what was done."""
    reason: str = ""
    """Why a snapshot was taken in place of an increment, or why nothing was done."""
    counts: ChangeCounts | None = None
    """What became of the keys; None where a snapshot has another key than before."""
    schema_changes: tuple[ShapeChange, ...] = ()
    gap: Gap | None = None
