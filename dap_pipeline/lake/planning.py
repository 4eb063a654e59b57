"""Decides what DAP is asked for: the whole table, or what changed since the published version.

The watermark is DAP's own instant in the commit of the published version. A table that is asked
for what changed can still end in a snapshot, and then it is said why.
"""

from __future__ import annotations

import contextlib
import logging
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
    parse_instant,
)
from dap_pipeline.dap.progress import Listener
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    DapError,
    InvalidQueryError,
    LakeError,
    OutOfRangeError,
    RequestForbiddenError,
    SnapshotRequiredError,
    UnreadableAnswerError,
)
from dap_pipeline.lake.records import LoadKind, LoadMode, LoadRecord, PublishedTable
from dap_pipeline.settings import SourceFormat

_NOTHING_NEWER = "DAP has nothing newer"
# By then the jobs of the first ones have long expired.
_MOST_CHECKS = 1000

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Demand:
    """Why changes cannot be applied, and how new a snapshot must be to help."""

    reason: str
    not_before: datetime | None = None
    """None where any snapshot helps."""
    schema_version: int = 0
    """The oldest that helps, at that very instant."""


@dataclass(frozen=True)
class Task:
    """One table that is to be loaded."""

    name: TableName
    mode: LoadMode
    before: PublishedTable | None
    """The published version; None where there is none."""
    quiet_checks: int = 0
    """How often DAP had nothing newer than that version's watermark."""
    demand: Demand | None = None
    """Why what came could not be applied to that version."""

    @property
    def published(self) -> PublishedTable:
        """The published version, where it is known that there is one."""
        if self.before is None:
            raise LakeError(f"{self.name} is not in the lake")
        return self.before


@dataclass(frozen=True)
class Answer:
    """The job that brings a table up to date."""

    job: CompleteJob
    format: Format
    reason: str = ""
    """Why it is a snapshot though changes were asked for."""

    @property
    def kind(self) -> LoadKind:
        """What the job brings."""
        is_whole = isinstance(self.job, CompleteSnapshot)
        return LoadKind.SNAPSHOT if is_whole else LoadKind.INCREMENTAL

    @property
    def at(self) -> datetime:
        """DAP's instant of the table's state after the load."""
        return self.job.at if isinstance(self.job, CompleteSnapshot) else self.job.until

    @property
    def since(self) -> datetime | None:
        """Where the range of an increment begins."""
        return None if isinstance(self.job, CompleteSnapshot) else self.job.since


@dataclass(frozen=True)
class UpToDate:
    """The published version is what DAP has, or newer."""

    reason: str
    job: CompleteJob | None = None
    """The job that showed it; None where DAP refused the range as one of the future."""


class Planner:
    """Asks DAP for the job that a table needs; safe to use from several threads."""

    def __init__(self, runner: JobRunner, source: SourceFormat, overlap: timedelta) -> None:
        self._runner = runner
        self._source = source
        self._overlap = overlap

    def ask(self, task: Task, *, listener: Listener, stop: Stop) -> Answer | UpToDate:
        """Run the query that the task needs to its end.

        Raises:
            OutOfRangeError: only changes were asked for, and DAP does not keep them that long.
            SnapshotRequiredError: only changes were asked for, and the table was reloaded.
            LakeError: only changes were asked for, and there is nothing to apply them to; or DAP
                demands a snapshot and has only old ones.
            DapError: DAP refused the query, or its job failed.
        """
        return _Asking(self._runner, self._source, self._overlap, task, listener, stop).answer()


@dataclass(frozen=True)
class _Asking:
    runner: JobRunner
    source: SourceFormat
    overlap: timedelta
    task: Task
    listener: Listener
    stop: Stop

    def answer(self) -> Answer | UpToDate:
        task = self.task
        if task.demand is not None:
            return self._demanded(task.demand)
        if task.mode is LoadMode.SNAPSHOT:
            return self._snapshot()
        if task.before is None:
            if task.mode is LoadMode.INCREMENTAL:
                raise LakeError(
                    "there is no version in the lake that changes could be applied to",
                    advice="Load it first with `dap-pipeline load --mode snapshot`, or `auto`.",
                )
            return self._first_snapshot("the table was not in the lake yet")
        try:
            return self._changes(task.before.load)
        except (OutOfRangeError, RequestForbiddenError) as error:
            if task.mode is LoadMode.INCREMENTAL:
                error.what_to_do = "Load the table with `--mode snapshot` or `auto`."
                raise
            return self._demanded(_demand_of(error, task.before.load.at))

    def _changes(self, load: LoadRecord) -> Answer | UpToDate:
        """Ask for what changed since the watermark.

        DAP answers an identical query with the same job for 24 hours, whatever is new by then. So
        after each answer that had nothing new, the next query begins a microsecond later: commits
        of DAP lie much further apart.
        """
        if self.overlap:
            # Where DAP does not keep what lies before the watermark, there is no need of it.
            with contextlib.suppress(OutOfRangeError):
                return self._changes_since(load, self.overlap)
        return self._changes_since(load, timedelta())

    def _changes_since(self, load: LoadRecord, overlap: timedelta) -> Answer | UpToDate:
        since = load.at - overlap
        checks = self.task.quiet_checks % _MOST_CHECKS
        try:
            job = self._increment(since + checks * timedelta(microseconds=1))
        except OutOfRangeError as error:
            newest = _instant(error.until)
            if not checks or overlap:
                raise
            if newest == load.at:
                # The permitted range ends at the newest commit, and that is published.
                return UpToDate(_NOTHING_NEWER)
            job = self._increment(since - checks * timedelta(seconds=1))
        if job.until <= load.at:
            # A job of before has the schema of before. And what an overlap brings once more may be
            # what was missed: it must be looked at.
            is_stale = job.schema_version < load.schema_version
            is_same = job.schema_version == load.schema_version
            if is_stale or (is_same and not (overlap and job.objects)):
                return UpToDate(_NOTHING_NEWER, job)
        return Answer(job, Format(self.source.value))

    def _demanded(self, demand: Demand) -> Answer:
        """Take a snapshot that is new enough to help."""
        _LOG.warning("%s: a snapshot is taken: %s", self.task.name, demand.reason)
        job, form = self._newest_snapshot(demand.not_before, demand.schema_version)
        if demand.not_before is not None and _is_older(
            job, demand.not_before, demand.schema_version
        ):
            until = "in 24 hours" if job.expires_at is None else f"at {_text(job.expires_at)}"
            raise LakeError(
                f"a snapshot is needed, since {demand.reason}; but DAP answers with that of"
                f" {_text(job.at)}",
                advice=f"Run it again when that job has expired, {until}.",
            )
        return Answer(job, form, demand.reason)

    def _first_snapshot(self, reason: str) -> Answer:
        job, form = self._newest_snapshot(None)
        return Answer(job, form, reason)

    def _snapshot(self) -> Answer | UpToDate:
        before = self.task.before
        if before is None:
            return self._first_snapshot("")
        load = before.load
        job, form = self._newest_snapshot(load.at, load.schema_version)
        if _is_older(job, load.at, load.schema_version):
            reason = f"DAP answers with an older snapshot, that of {_text(job.at)}"
            return UpToDate(reason, job)
        # ``at`` identifies the table's state (API document). What increments have led to is
        # replaced all the same: a snapshot is asked for to be sure of it.
        same_state = job.at == load.at and job.schema_version == load.schema_version
        if load.kind is LoadKind.SNAPSHOT and (job.id == load.job_id or same_state):
            return UpToDate(_NOTHING_NEWER, job)
        return Answer(job, form)

    def _newest_snapshot(
        self, not_before: datetime | None, schema_version: int = 0
    ) -> tuple[CompleteSnapshot, Format]:
        """Run a snapshot; where DAP has an older one at hand, ask again in other words.

        The mode means nothing to Parquet and JSONL, and both formats give the same rows.
        """
        first, *others = _snapshot_queries(self.source)
        newest, form = self._whole(first), first.format
        for query in others:
            if not_before is None or not _is_older(newest, not_before, schema_version):
                break
            job = self._whole(query)
            if _is_older(newest, job.at, job.schema_version):
                newest, form = job, query.format
        return newest, form

    def _whole(self, query: SnapshotQuery) -> CompleteSnapshot:
        job = self._run(query)
        if not isinstance(job, CompleteSnapshot):
            raise UnreadableAnswerError("DAP answered a snapshot with an incremental job")
        return job

    def _increment(self, since: datetime) -> CompleteIncremental:
        job = self._run(IncrementalQuery(Format(self.source.value), since))
        if not isinstance(job, CompleteIncremental):
            raise UnreadableAnswerError("DAP answered an incremental query with a snapshot")
        return job

    def _run(self, query: Query) -> CompleteJob:
        return self.runner.run(self.task.name, query, listener=self.listener, stop=self.stop)


def _is_older(job: CompleteSnapshot, at: datetime, schema_version: int) -> bool:
    """Tell whether a snapshot is of an earlier state, or of an earlier schema at that instant."""
    return (job.at, job.schema_version) < (at, schema_version)


def _snapshot_queries(source: SourceFormat) -> list[SnapshotQuery]:
    form = Format(source.value)
    other = Format.JSONL if form is Format.PARQUET else Format.PARQUET
    modes = (None, Mode.EXPANDED, Mode.CONDENSED)
    return [SnapshotQuery(f, mode) for f in (form, other) for mode in modes]


def _demand_of(error: DapError, watermark: datetime) -> Demand:
    """Read out of a refusal how new a snapshot must be."""
    if not isinstance(error, OutOfRangeError):
        return Demand(f"DAP does not permit an incremental query: {error.what}")
    newest, earliest = _instant(error.until), _instant(error.since)
    if newest is not None and newest < watermark:
        return Demand(f"DAP has nothing of after {_text(newest)}, and the table is newer")
    what = (
        "the table was reloaded"
        if isinstance(error, SnapshotRequiredError)
        else "DAP does not keep changes that long"
    )
    since = f"since {_text(watermark)}"
    permitted = "" if earliest is None else f"; permitted is from {_text(earliest)}"
    return Demand(f"{what} ({since}{permitted})", max(earliest or watermark, watermark))


def _instant(text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_instant(text)
    except InvalidQueryError:
        return None


def _text(instant: datetime) -> str:
    return format_instant(instant)
