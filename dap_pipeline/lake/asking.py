"""Puts the queries of one table to DAP, and asks until a snapshot is new enough."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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
)
from dap_pipeline.dap.progress import Listener
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import UnreadableAnswerError
from dap_pipeline.settings import SourceFormat


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

    def newest_snapshot(
        self, not_before: datetime | None, schema_version: int = 0
    ) -> tuple[CompleteSnapshot, Format]:
        """Run a snapshot; where DAP has an older one at hand, ask again in other words.

        The mode means nothing to Parquet and JSONL, and both formats give the same rows.
        """
        first, *others = _snapshot_queries(self.format)
        newest, form = self._whole(first), first.format
        for query in others:
            if not_before is None or not is_older(newest, not_before, schema_version):
                break
            job = self._whole(query)
            if is_older(newest, job.at, job.schema_version):
                newest, form = job, query.format
        return newest, form

    def increment(self, since: datetime) -> CompleteIncremental:
        """Run an increment up to the newest that DAP has."""
        job = self._run(IncrementalQuery(self.format, since))
        if not isinstance(job, CompleteIncremental):
            raise UnreadableAnswerError("DAP answered an incremental query with a snapshot")
        return job

    def _whole(self, query: SnapshotQuery) -> CompleteSnapshot:
        job = self._run(query)
        if not isinstance(job, CompleteSnapshot):
            raise UnreadableAnswerError("DAP answered a snapshot with an incremental job")
        return job

    def _run(self, query: Query) -> CompleteJob:
        return self.runner.run(self.name, query, listener=self.listener, stop=self.stop)


def is_older(job: CompleteSnapshot, at: datetime, schema_version: int) -> bool:
    """Tell whether a snapshot is of an earlier state, or of an earlier schema at that instant."""
    return (job.at, job.schema_version) < (at, schema_version)


def _snapshot_queries(form: Format) -> list[SnapshotQuery]:
    other = Format.JSONL if form is Format.PARQUET else Format.PARQUET
    modes = (None, Mode.EXPANDED, Mode.CONDENSED)
    return [SnapshotQuery(f, mode) for f in (form, other) for mode in modes]
