"""Makes the files of a table's new version: from the job's parts, and from what is published."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from dap_pipeline.dap.schema_book import SchemaBook
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import LakeError, SchemaConflictError
from dap_pipeline.lake.changes_table import with_load
from dap_pipeline.lake.columns import TableShape, shape_of
from dap_pipeline.lake.evolution import (
    ShapeChange,
    merged_shape,
    names_between,
    names_kept,
    set_aside,
)
from dap_pipeline.lake.fetching import Fetcher, Workshop
from dap_pipeline.lake.gate import GateRules, check_before_commit, check_contract
from dap_pipeline.lake.harm import UNREADABLE, snapshot_in_place_of
from dap_pipeline.lake.masking import Masking
from dap_pipeline.lake.merging.accumulating import Accumulating, accumulate, accumulating, by_day
from dap_pipeline.lake.merging.clustering import cluster, worth_clustering
from dap_pipeline.lake.merging.comparing import Compared, can_be_read, cannot_compare, compare
from dap_pipeline.lake.merging.merge import BaseFile, ChangeCounts, Merged, merge
from dap_pipeline.lake.meter import Meter
from dap_pipeline.lake.planning import Answer, Demand, Task
from dap_pipeline.lake.records import Gap, LoadKind, LoadMode, PublishedTable
from dap_pipeline.lake.rewriting.rewrite import RewriteOptions, WrittenFile
from dap_pipeline.lake.tables import NewLoad

_LOG = logging.getLogger(__name__)
_UNKNOWN = "%s: it is not known what the snapshot changed: %s"
_BEGIN_ANEW = (
    "DAP no longer has the older rows, so they are kept as a table of their own: rename the table's"
    " folder in the lake, {0.namespace}/{0.table}, to {0.namespace}/{0.table}_before_v{1}, and load"
    " {0} again."
)


@dataclass(frozen=True)
class LoadOptions:
    """How tables are loaded; see the settings of the same names."""

    keep_versions: timedelta
    keep_changes: timedelta
    log_retention: timedelta
    rules: GateRules = field(default_factory=GateRules)
    masking: Masking = field(default_factory=Masking)


class SnapshotNeededError(Exception):
    """What came cannot be added to the published rows."""

    def __init__(self, demand: Demand) -> None:
        super().__init__(demand.reason)
        self.demand = demand


@dataclass(frozen=True)
class Loading:
    """What is known about a load once its job is complete."""

    task: Task
    answer: Answer
    shape: TableShape
    """The columns of the job's rows."""
    target: TableShape
    """The columns of the table after the load."""
    named: TableShape | None
    """The published columns, with other names where they are in the way of the new ones."""
    schema_changes: tuple[ShapeChange, ...]
    remasked: bool
    """Whether the published rows are masked by other settings."""

    @property
    def base(self) -> tuple[BaseFile, ...]:
        """The published files."""
        return () if self.task.before is None else self.task.before.base

    @property
    def base_shape(self) -> TableShape:
        """The columns of the published files."""
        return self.target if self.task.before is None else self.task.before.shape


@dataclass(frozen=True)
class Made:
    """What is about to be published."""

    files: Sequence[WrittenFile]
    rows: int
    removed: Sequence[BaseFile] | None
    """None replaces the whole table."""
    changes: WrittenFile | None
    counts: ChangeCounts | None


class VersionMaker:
    """Makes new versions of tables; safe to use from several threads at once."""

    def __init__(
        self, *, fetcher: Fetcher, schemas: SchemaBook, workshop: Workshop, options: LoadOptions
    ) -> None:
        self._fetcher = fetcher
        self._schemas = schemas
        self._workshop = workshop
        self._options = options

    def prepared(self, task: Task, answer: Answer, remasked: bool, stop: Stop) -> Loading:
        """Find out the columns of the job's rows, and those of the table with them."""
        schema = self._schemas.schema(task.name, answer.job.schema_version, stop)
        shape = self._options.masking.apply(task.name, shape_of(schema))
        before = None if task.before is None else task.before.shape
        changes = check_contract(task.name, before, shape, self._options.rules.contracts)
        target, named = shape, before
        if before is not None:
            how = accumulating(task.name, before) or accumulating(task.name, shape)
            if how is not None:
                named = set_aside(before, shape, never=(how.day_column,))
                changes += names_kept(before, named, shape)
            if how is not None or answer.kind is LoadKind.INCREMENTAL:
                target = self._merged_shape(task, answer, named or before, shape)
        for change in changes:
            _LOG.warning("%s: %s", task.name, change)
        return Loading(task, answer, shape, target, named, changes, remasked)

    def _merged_shape(
        self, task: Task, answer: Answer, before: TableShape, shape: TableShape
    ) -> TableShape:
        try:
            return merged_shape(before, shape)
        except SchemaConflictError as error:
            if accumulating(task.name, before) or accumulating(task.name, shape):
                error.what_to_do = _BEGIN_ANEW.format(task.name, shape.schema_version)
                raise
            if task.mode is LoadMode.AUTO and answer.kind is LoadKind.INCREMENTAL:
                demand = Demand(error.what, answer.at, answer.job.schema_version)
                raise SnapshotNeededError(demand) from error
            raise

    def made(self, loading: Loading, folder: Path, meter: Meter, stop: Stop) -> Made:
        """Write the files of the new version into the job's folder, and check them."""
        tidy = self._fetcher.tidy_files(loading.answer, loading.shape, folder, meter, stop)
        work = folder / "tidy" / "merged"
        with self._workshop.turn(folder, "merge", meter) as options:
            how = accumulating(loading.task.name, loading.target)
            if how is None and loading.answer.kind is LoadKind.SNAPSHOT:
                return self._whole(loading, tidy, work, options)
            merged = _merged_or_refused(loading, how, tidy, work, options)
            gone, came = (sum(f.rows for f in files) for files in (merged.removed, merged.added))
            rows = sum(file.rows for file in loading.base) - gone + came
            for files in [merged.added] if how is None else by_day(merged.added, how):
                self._check(loading, LoadKind.INCREMENTAL, files, rows, options)
            made = Made(merged.added, rows, merged.removed, None, merged.counts)
            told = None if loading.task.before is None else merged.changes
            return self._with_changes(made, told, loading, options)

    def _whole(
        self, loading: Loading, tidy: Sequence[WrittenFile], work: Path, options: RewriteOptions
    ) -> Made:
        """Take the files of a snapshot; those of a large table are put in the order of its key."""
        rows = sum(file.rows for file in tidy)
        # Before they are put in order, since that makes repeated keys one.
        self._check(loading, LoadKind.SNAPSHOT, tidy, rows, options)
        compared = self._compared(loading, tidy, work, options)
        if worth_clustering(tidy, loading.target):
            tidy = cluster(tidy, loading.target, work=work, options=options)
        if loading.task.before is None:
            return Made(tidy, rows, None, None, ChangeCounts(rows, 0, 0, 0))
        if compared is None:
            return Made(tidy, rows, None, None, None)
        made = Made(tidy, rows, None, None, compared.counts)
        return self._with_changes(made, compared.changes, loading, options)

    def _compared(
        self, loading: Loading, tidy: Sequence[WrittenFile], work: Path, options: RewriteOptions
    ) -> Compared | None:
        """Find out what a snapshot changed; None where there is nothing to compare it with."""
        before = loading.task.before
        if before is None:
            return None
        reason = cannot_compare(before.shape, loading.target, remasked=loading.remasked)
        if reason:
            _LOG.warning(_UNKNOWN, before.name, reason)
            return None
        published = [file.path for file in loading.base]
        new = [file.path for file in tidy]
        shape, at = loading.target, loading.answer.at
        try:
            return compare(published, new, shape=shape, at=at, work=work, options=options)
        except LakeError:
            # A snapshot is the way out of a version that is damaged or lost.
            if can_be_read(published, shape, options):
                raise
            _LOG.warning(_UNKNOWN, before.name, UNREADABLE)
            return None

    def _with_changes(
        self, made: Made, changes: WrittenFile | None, loading: Loading, options: RewriteOptions
    ) -> Made:
        """Add the file of what the load changed."""
        if changes is None:
            return made
        load = self.new_load(loading, made)
        return replace(made, changes=with_load(changes, loading.target, load, options))

    def _check(
        self,
        loading: Loading,
        kind: LoadKind,
        files: Sequence[WrittenFile],
        rows: int,
        options: RewriteOptions,
    ) -> None:
        check_before_commit(
            loading.task.name,
            files,
            loading.target,
            kind=kind,
            rows=rows,
            before=loading.task.before,
            rules=self._options.rules,
            options=options,
        )

    def new_load(self, loading: Loading, made: Made) -> NewLoad:
        """Tell what the commit of the version says about it."""
        answer, before = loading.answer, loading.task.before
        version = None if before is None else before.version
        lineage = 0 if before is None else before.load.lineage
        load = NewLoad(
            kind=answer.kind,
            job_id=answer.job.id,
            schema_version=answer.job.schema_version,
            at=answer.at if before is None else self._watermark(loading, before),
            since=answer.since,
            base_version=version,
            mode=loading.task.mode,
            reason=answer.reason,
            counts=made.counts,
            schema_changes=loading.schema_changes,
            gap=self._gap(loading),
            lineage=lineage,
            snapshot_at=None if before is None else before.snapshot_at,
        )
        # The job may be the published one, which would be taken for applied already.
        return replace(load, lineage=load.version) if answer.again else load

    def _watermark(self, loading: Loading, before: PublishedTable) -> datetime:
        """Give the instant of the new version; an increment never sets it back."""
        at = loading.answer.at
        return at if loading.answer.kind is LoadKind.SNAPSHOT else max(at, before.watermark)

    def _gap(self, loading: Loading) -> Gap | None:
        """Find out whether DAP may have dropped rows of a log since the last load.

        It may answer with an increment all the same, which then lacks them.
        """
        before = loading.task.before
        if before is None or accumulating(loading.task.name, loading.target) is None:
            return None
        kept_from = loading.answer.at - self._options.log_retention
        return Gap(before.watermark, kept_from) if before.watermark < kept_from else None

    def brings_nothing(self, made: Made, loading: Loading, before: PublishedTable) -> bool:
        """Tell whether an increment brought nothing that a new version should tell of.

        A snapshot of a log is told of, so that it is not fetched again.
        """
        return (
            loading.answer.kind is LoadKind.INCREMENTAL
            and made.removed is not None
            and not made.removed
            and not made.files
            and loading.answer.job.schema_version == before.load.schema_version
            and self._gap(loading) is None
        )


def _merged_or_refused(
    loading: Loading,
    how: Accumulating | None,
    tidy: Sequence[WrittenFile],
    work: Path,
    options: RewriteOptions,
) -> Merged:
    """Merge; where that fails since the published files are damaged, tell what helps."""
    try:
        return _merged(loading, how, tidy, work, options)
    except LakeError as error:
        task, published = loading.task, [file.path for file in loading.base]
        if task.before is None or can_be_read(published, loading.base_shape, options):
            raise
        raise SnapshotNeededError(
            snapshot_in_place_of(task.before, task.mode, UNREADABLE)
        ) from error


def _merged(
    loading: Loading,
    how: Accumulating | None,
    tidy: Sequence[WrittenFile],
    work: Path,
    options: RewriteOptions,
) -> Merged:
    base, before, after = loading.base, loading.base_shape, loading.target
    paths = [file.path for file in tidy]
    if how is None:
        return merge(base, paths, base_shape=before, shape=after, work=work, options=options)
    return accumulate(
        base,
        paths,
        how,
        base_shape=before,
        shape=after,
        names=names_between(before, loading.named or before),
        work=work,
        options=options,
    )
