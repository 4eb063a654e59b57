"""Puts the queries of one table to DAP, and asks until a snapshot is new enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dap_pipeline.dap.jobs import JobRunner
from dap_pipeline.dap.models import (
    CompleteIncremental,
    CompleteJob,
    CompleteSnapshot,
    Format,
    IncrementalQuery,
    Mode,
    Query,
    SnapshotQuery,
    TableName,
    format_instant,
)
from dap_pipeline.dap.progress import Listener
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import OutOfRangeError, UnreadableAnswerError
from dap_pipeline.lake.demand import is_older
from dap_pipeline.settings import SourceFormat

# So much may DAP round an instant; its commits lie much further apart.
_ROUNDED = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Asking:
    """Runs the queries of one table to their end."""

    runner: JobRunner
    source: SourceFormat
    name: TableName
    listener: Listener
    stop: Stop

    @property
    def format(self) -> Format:
        """The format that the settings choose."""
        return Format(self.source.value)

    def snapshot(
        self, is_enough: Callable[[CompleteSnapshot], bool], turn: int = 0
    ) -> tuple[CompleteSnapshot, Format]:
        """Run a snapshot; where DAP has an older one at hand, ask again in other words.

        The mode means nothing to Parquet and JSONL, and both formats give the same rows.

        Args:
            is_enough: tells of a snapshot whether it will do; if none does, the newest comes.
            turn: with which words to begin.
        """
        first, *others = _in_turn(_snapshot_queries(self.format), turn)
        newest, form = self._whole(first), first.format
        for query in others:
            if is_enough(newest):
                break
            job = self._whole(query)
            if is_enough(job) or is_older(newest, job.at, job.schema_version):
                newest, form = job, query.format
        return newest, form

    def increment(self, since: datetime) -> CompleteIncremental:
        """Run an increment up to the newest that DAP has.

        Raises:
            OutOfRangeError: DAP does not keep changes that long, whether or not it says so.
        """
        job = self._run(IncrementalQuery(self.format, since))
        if not isinstance(job, CompleteIncremental):
            raise UnreadableAnswerError("DAP answered an incremental query with a snapshot")
        if job.since - since > _ROUNDED:
            asked, begins = format_instant(since), format_instant(job.since)
            what = f"DAP was asked for changes since {asked} and gives them from {begins} only"
            until = format_instant(job.until)
            raise OutOfRangeError(what, since=begins, until=until).at(job_id=job.id)
        return job

    def _whole(self, query: SnapshotQuery) -> CompleteSnapshot:
        job = self._run(query)
        if not isinstance(job, CompleteSnapshot):
            raise UnreadableAnswerError("DAP answered a snapshot with an incremental job")
        return job

    def _run(self, query: Query) -> CompleteJob:
        return self.runner.run(self.name, query, listener=self.listener, stop=self.stop)


def _in_turn(queries: list[SnapshotQuery], turn: int) -> list[SnapshotQuery]:
    place = turn % len(queries)
    return queries[place:] + queries[:place]


def _snapshot_queries(form: Format) -> list[SnapshotQuery]:
    other = Format.JSONL if form is Format.PARQUET else Format.PARQUET
    # DAP takes none for one of them, most likely for the last.
    modes = (None, Mode.CONDENSED, Mode.EXPANDED)
    return [SnapshotQuery(f, mode) for f in (form, other) for mode in modes]
