"""Decides what DAP is asked for: the whole table, or what changed since the published version.

The watermark is DAP's own instant in the commit of the published version, or a later one up to
which nothing came. A table that is asked for what changed can still end in a snapshot, and then it
is said why.
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
    TableName,
    format_instant,
)
from dap_pipeline.dap.progress import Listener
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    LakeError,
    OutOfRangeError,
    RequestForbiddenError,
    SnapshotRequiredError,
)
from dap_pipeline.lake.asking import Asking
from dap_pipeline.lake.demand import Demand, demand_of, instant_of, is_older
from dap_pipeline.lake.merging.accumulating import accumulating
from dap_pipeline.lake.records import (
    NOTHING_NEWER,
    LoadKind,
    LoadMode,
    LoadRecord,
    PublishedTable,
)
from dap_pipeline.settings import SourceFormat

__all__ = ["Answer", "Demand", "Planner", "Task", "UpToDate"]

# By then the jobs of the first ones have long expired.
_MOST_CHECKS = 1000
_STEP = timedelta(microseconds=1)
_NONE = timedelta()

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """One table that is to be loaded."""

    name: TableName
    mode: LoadMode
    before: PublishedTable | None
    """The published version; None where there is none."""
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
    again: bool = False
    """Whether it is to be applied though it may have been before."""

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

    reason: str = NOTHING_NEWER
    job: CompleteJob | None = None
    """The job that showed it; None where DAP refused the range as one of the future."""
    known: bool = True
    """Whether it is known that DAP had nothing newer when the job was begun."""

    @property
    def age(self) -> timedelta:
        """How long ago that was."""
        return _NONE if self.job is None else self.job.age

    def until(self, table: PublishedTable) -> datetime:
        """Tell up to which instant of DAP nothing came after what is published."""
        return self.job.until if isinstance(self.job, CompleteIncremental) else table.watermark


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
        asking = Asking(self._runner, self._source, task.name, listener, stop)
        return _Plan(asking, self._overlap, task).answer()


@dataclass(frozen=True)
class _Plan:
    asking: Asking
    overlap: timedelta
    task: Task

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
            return self._changes(task.before)
        except (OutOfRangeError, RequestForbiddenError) as error:
            if task.mode is LoadMode.INCREMENTAL:
                error.what_to_do = "Load the table with `--mode snapshot` or `auto`."
                raise
            return self._demanded(demand_of(error, task.before))

    def _changes(self, before: PublishedTable) -> Answer | UpToDate:
        """Ask for what changed since the watermark, or since a little earlier.

        DAP answers an identical query with the same job for 24 hours, whatever is new by then. So
        after each answer that had nothing new, the next query begins a microsecond later: commits
        of DAP lie much further apart.
        """
        unasked = _back_to_what_was_not_asked(before.load)
        for back in sorted({self.overlap + unasked, unasked} - {_NONE}, reverse=True):
            # Where DAP does not keep what lies before the watermark, there is no need of it.
            with contextlib.suppress(OutOfRangeError):
                return self._changes_since(before, back)
        return self._changes_since(before, _NONE)

    def _changes_since(self, before: PublishedTable, back: timedelta) -> Answer | UpToDate:
        checks, watermark = before.checked.times % _MOST_CHECKS, before.watermark
        since = watermark - back + checks * _STEP
        try:
            job = self._increment(since, watermark)
        except OutOfRangeError as error:
            if back or isinstance(error, SnapshotRequiredError):
                raise
            newest = instant_of(error.until)
            if newest is not None and before.load.at <= newest <= watermark:
                # The permitted range ends at the newest commit, and that is published.
                return UpToDate()
            if not checks or (instant_of(error.since) or watermark) > since:
                raise
            job = self.asking.increment(watermark - checks * timedelta(seconds=1))
        is_looked_at = bool(self.overlap) and back >= self.overlap
        if _brings_nothing(job, before, is_looked_at=is_looked_at):
            return _up_to_date(job)
        return Answer(job, self.asking.format)

    def _increment(self, since: datetime, watermark: datetime) -> CompleteIncremental:
        """Run an increment; a job that was there before is asked past, as it knows nothing new."""
        job = self.asking.increment(since)
        if job.age and job.until <= watermark:
            with contextlib.suppress(OutOfRangeError):
                return self.asking.increment(since + _STEP)
        return job

    def _demanded(self, demand: Demand) -> Answer | UpToDate:
        """Take a snapshot that is new enough to help, unless it is published."""
        _LOG.warning("%s: a snapshot is asked for: %s", self.task.name, demand.reason)
        # A table that is quiet for long is asked for time and again, and DAP answers an identical
        # query with the same job for 24 hours.
        before = self.task.before
        turn = before.checked.times if before is not None and demand.unless_same else 0

        def is_enough(job: CompleteSnapshot) -> bool:
            is_outdated = job.age and before is not None and _is_same_state(job, before)
            return demand.is_met_by(job) and not (demand.best_new and is_outdated)

        job, form = self.asking.snapshot(is_enough, turn)
        if not demand.is_met_by(job):
            until = (
                "in 24 hours" if job.expires_at is None else f"at {format_instant(job.expires_at)}"
            )
            raise LakeError(
                f"a snapshot is needed, since {demand.reason}; but DAP answers with that of"
                f" {format_instant(job.at)}",
                advice=f"Run it again when that job has expired, {until}.",
            )
        if before is not None and (
            (demand.unless_same and _is_same_state(job, before))
            or (not demand.again and _is_its_job(job, before.load))
        ):
            return _up_to_date(job)
        return Answer(job, form, demand.reason, demand.again)

    def _first_snapshot(self, reason: str) -> Answer:
        job, form = self.asking.snapshot(lambda _: True)
        return Answer(job, form, reason)

    def _snapshot(self) -> Answer | UpToDate:
        before = self.task.before
        if before is None:
            return self._first_snapshot("")
        load = before.load
        job, form = self.asking.snapshot(
            lambda job: not is_older(job, load.at, load.schema_version)
        )
        if is_older(job, load.at, load.schema_version):
            reason = f"DAP answers with an older snapshot, that of {format_instant(job.at)}"
            return UpToDate(reason, job, known=False)
        # What increments have led to is replaced even by the same state: a snapshot is asked for
        # to be sure of it.
        state = (load.at, load.schema_version)
        is_same = load.kind is LoadKind.SNAPSHOT and (job.at, job.schema_version) == state
        if is_same or _is_its_job(job, load):
            return _up_to_date(job)
        return Answer(job, form)


def _brings_nothing(
    job: CompleteIncremental, before: PublishedTable, *, is_looked_at: bool
) -> bool:
    """Tell whether nothing of an increment needs to be looked at.

    What an overlap brings once more may be what was missed.
    """
    version = before.load.schema_version
    if job.until <= before.watermark:
        # A job of before has the schema of before.
        is_stale = job.schema_version < version
        return is_stale or (job.schema_version == version and not (is_looked_at and job.objects))
    # Of a log, it must be told when DAP may have dropped rows meanwhile.
    is_log = accumulating(before.name, before.shape) is not None
    return job.schema_version == version and not job.objects and not is_log


def _is_same_state(job: CompleteSnapshot, table: PublishedTable) -> bool:
    """Tell whether a snapshot is of the published state, which ``at`` identifies (API document).

    An instant up to which nothing came after the load is of the same state.
    """
    is_same_time = table.load.at <= job.at <= table.watermark
    return is_same_time and job.schema_version == table.load.schema_version


def _is_its_job(job: CompleteSnapshot, load: LoadRecord) -> bool:
    return load.kind is LoadKind.SNAPSHOT and job.id == load.job_id


def _up_to_date(job: CompleteJob) -> UpToDate:
    """Say that a job brings nothing newer, and of when it is where it was there before."""
    if not job.age or job.begun_at is None:
        return UpToDate(job=job)
    begun = format_instant(job.begun_at.replace(microsecond=0))
    return UpToDate(f"DAP answers with its job of {begun}, which is published", job)


def _back_to_what_was_not_asked(load: LoadRecord) -> timedelta:
    """Tell how far before the watermark of a restored version the next query begins.

    Since the watermark itself was asked from before, and DAP would answer with those jobs in turn.
    Each restore has a thousand microseconds of its own, one for each quiet check.
    """
    return _NONE if load.restored_from is None else load.lineage * _MOST_CHECKS * _STEP
