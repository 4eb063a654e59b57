"""What a sandbox is like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from .encode_parquet import ParquetTimestamps
from .jobs import JobSettings
from .limits import DOCUMENTED_LIMITS, Endpoint
from .selections import History, OldRanges


class SandboxError(RuntimeError):
    """The sandbox cannot start; the message tells why in one sentence."""


@dataclass(frozen=True)
class SandboxConfig:
    """What a sandbox is like.

    `folder` keeps the school, the jobs and the credentials. Port 0 takes a free one. `seed`, `rows`
    and `as_of` (default: now, rounded down to 4 hours) shape a school that is built on first use.
    The rest is explained at JobSettings and History.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    rate_limits: bool = True
    limits: Mapping[Endpoint, int] = field(default_factory=lambda: DOCUMENTED_LIMITS)
    seed: int = 1
    rows: int = 200_000
    as_of: datetime | None = None
    job_seconds: float = 0.0
    job_polls: int = 1
    rows_per_part: int = 25_000
    empty_part: bool = False
    history_days: int | None = None
    history_by_clock: bool = False
    old_ranges: OldRanges = OldRanges.REFUSED
    parquet_timestamps: ParquetTimestamps = ParquetTimestamps.MICROS
    workers: int = 2

    def job_settings(self) -> JobSettings:
        """Give what concerns jobs."""
        kept = None if self.history_days is None else timedelta(days=self.history_days)
        return JobSettings(
            seconds=self.job_seconds,
            polls=self.job_polls,
            rows_per_part=self.rows_per_part,
            empty_part=self.empty_part,
            history=History(kept, self.history_by_clock, self.old_ranges),
            parquet_timestamps=self.parquet_timestamps,
            workers=self.workers,
        )
