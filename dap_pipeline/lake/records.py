"""What the lake tells about its tables and loads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.columns import TableShape


class LoadKind(StrEnum):
    """What a load brings: the whole table, or what changed."""

    SNAPSHOT = "snapshot"
    INCREMENTAL = "incremental"


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
    checked_at: datetime
    """When DAP last said that this is the table's state; a quiet table has an old load."""


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
