"""One table's load: job, parts, tidy Parquet, merge, one commit.

Nothing is published before every part is there and counted. A load that another one has overtaken
begins anew from what that one published.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.progress import Listener, Stage
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    ConcurrentLoadError,
    DapPipelineError,
    NotFoundError,
    SchemaConflictError,
    SchemaUnavailableError,
    StorageError,
)
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.fetching import Workshop
from dap_pipeline.lake.harm import lost_files, snapshot_in_place_of
from dap_pipeline.lake.merging.accumulating import accumulating
from dap_pipeline.lake.merging.merge import ChangeCounts
from dap_pipeline.lake.meter import Meter
from dap_pipeline.lake.planning import Answer, Demand, Planner, Task, UpToDate
from dap_pipeline.lake.records import LoadKind, LoadMode, LoadResult, Outcome, PublishedTable
from dap_pipeline.lake.staging import Staging
from dap_pipeline.lake.tables import Lake
from dap_pipeline.lake.versions import (
    Loading,
    LoadOptions,
    Made,
    SnapshotNeededError,
    VersionMaker,
)

_LOG = logging.getLogger(__name__)

# How often a load begins anew after another one was published first.
_TRIES = 5
_NOTHING = ChangeCounts(0, 0, 0, 0)
_PUBLISHED = "what came was published already"


class TableLoader:
    """Loads tables from DAP into the lake; safe to use from several threads at once."""

    def __init__(
        self,
        lake: Lake,
        *,
        planner: Planner,
        maker: VersionMaker,
        staging: Staging,
        workshop: Workshop,
        options: LoadOptions,
    ) -> None:
        self._lake = lake
        self._planner = planner
        self._maker = maker
        self._staging = staging
        self._workshop = workshop
        self._options = options

    def load(
        self,
        name: TableName,
        *,
        listener: Listener,
        stop: Stop,
        mode: LoadMode = LoadMode.SNAPSHOT,
    ) -> LoadResult:
        """Bring the table up to date and publish it, unless it is up to date already.

        Raises:
            DapPipelineError: the load failed and changed nothing; its text says what to do.
        """
        meter = Meter(name, listener)
        try:
            with self._staging.locked(name, stop):
                self._settle_changes(name)
                return self._load_until_published(name, mode, meter, stop)
        except DapPipelineError as error:
            raise error.at(name.namespace, name.table, meter.job_id or None) from None
        except OSError as error:
            raise StorageError(f"the data folder cannot be used: {error.strerror or error}").at(
                name.namespace, name.table, meter.job_id or None
            ) from error

    def _load_until_published(
        self, name: TableName, mode: LoadMode, meter: Meter, stop: Stop
    ) -> LoadResult:
        """Begin anew when another load comes first, or the job's objects vanish on the way."""
        lost = 0
        demand: Demand | None = None
        for left in reversed(range(_TRIES)):
            try:
                return self._load_once(name, mode, demand, meter, stop)
            except NotFoundError as error:
                lost += 1
                if error.kind != "object" or lost > 1:
                    raise
                self._staging.clear(name)
            except ConcurrentLoadError:
                if not left:
                    raise
                _LOG.warning("%s: another load was published first; beginning anew", name)
            except SnapshotNeededError as error:
                demand = error.demand
        raise AssertionError("the last try returns or raises")

    def _load_once(
        self, name: TableName, mode: LoadMode, demand: Demand | None, meter: Meter, stop: Stop
    ) -> LoadResult:
        before = self._lake.table(name)
        remasked = () if before is None else self._remasked(before, mode)
        if before is not None and demand is None:
            demand = self._demanded(before, mode, remasked)
        task = Task(name, mode, before, demand)
        with meter.timing("waiting"):
            answer = self._planner.ask(task, listener=meter.listener, stop=stop)
        if answer.job is not None:
            meter.job_id, meter.parts = answer.job.id, len(answer.job.objects)
        if isinstance(answer, UpToDate):
            now = task.published
            if answer.known:
                now = self._lake.confirm(now, answer.until(now), answer.age)
            return self._unchanged(task, now, answer.reason, meter)
        loading = self._prepared(task, answer, bool(remasked), stop)
        folder = self._staging.job_folder(name, loading.answer.job.id)
        with self._nothing_left_unmasked(name, loading.shape):
            made = self._maker.made(loading, folder, meter, stop)
            if before is not None and self._maker.brings_nothing(made, loading, before):
                now = self._lake.confirm(before, answer.at, answer.job.age)
                result = self._unchanged(task, now, _PUBLISHED, meter)
                return replace(result, counts=made.counts)
            stop.check()
            return self._publish(loading, made, meter)

    def _prepared(self, task: Task, answer: Answer, remasked: bool, stop: Stop) -> Loading:
        """Find out the columns; in place of a snapshot of before they changed, demand a newer one.

        Where a new job follows a schema that DAP no longer gives, another one would do so, too.
        """
        try:
            return self._maker.prepared(task, answer, remasked, stop)
        except SchemaUnavailableError as error:
            is_old = answer.kind is LoadKind.SNAPSHOT and answer.job.age
            if not is_old or task.demand is not None:
                raise
            newer = answer.job.schema_version + 1
            raise SnapshotNeededError(Demand(error.what, answer.at, newer)) from error

    @contextlib.contextmanager
    def _nothing_left_unmasked(self, name: TableName, shape: TableShape) -> Iterator[None]:
        """Remove the parts of a masked table when its load fails, too."""
        try:
            yield
        except (ConcurrentLoadError, SnapshotNeededError):
            # The load begins anew at once.
            raise
        except BaseException:
            if shape.is_masked:
                self._staging.clear(name)
            raise

    def _demanded(
        self, before: PublishedTable, mode: LoadMode, remasked: tuple[str, ...]
    ) -> Demand | None:
        """Demand a snapshot where the published rows or files must not stay as they are."""
        if remasked:
            load = before.load
            return Demand("; ".join(remasked), load.at, load.schema_version, again=True)
        lost = lost_files(before)
        return snapshot_in_place_of(before, mode, lost) if lost else None

    def _remasked(self, before: PublishedTable, mode: LoadMode) -> tuple[str, ...]:
        """Say how the published rows are masked otherwise than the settings want.

        Raises:
            SchemaConflictError: they are, and no snapshot may be taken, or none would help.
        """
        found = self._options.masking.changed_since(before.name, before.shape)
        if found and accumulating(before.name, before.shape):
            raise SchemaConflictError(
                f"older rows are masked by other settings: {'; '.join(found)}",
                advice="DAP no longer has these rows. Set the masks back, or remove the table's "
                "folder from the lake and load it anew.",
            )
        if found and mode is LoadMode.INCREMENTAL:
            raise SchemaConflictError(f"the published rows are masked otherwise: {found[0]}")
        return found

    def _unchanged(self, task: Task, now: PublishedTable, reason: str, meter: Meter) -> LoadResult:
        meter.tell(Stage.UNCHANGED)
        if task.published.checked_at.date() < datetime.now(UTC).date():
            # What was replaced long ago must also go while nothing new comes; once a day is enough.
            self._tidy_up(task.name)
        else:
            self._staging.clear(task.name)
        result = meter.result(Outcome.UNCHANGED, now, now.rows, objects=meter.parts)
        return replace(result, mode=task.mode, reason=reason, counts=_NOTHING)

    def _publish(self, loading: Loading, made: Made, meter: Meter) -> LoadResult:
        name, before = loading.task.name, loading.task.before
        load = self._maker.new_load(loading, made)
        if load.gap is not None:
            _LOG.warning("%s: %s", name, load.gap)
        after = self._lake.publish(
            name, loading.target, made.files, load, removed=made.removed, changes=made.changes
        )
        if after.version != load.version:
            # The job was applied to an earlier version, and once more would change nothing.
            task = replace(loading.task, before=after)
            return self._unchanged(task, after, _PUBLISHED, meter)
        if before is not None and before.load.at <= after.load.at <= before.watermark:
            # The query of this load must not be asked again: DAP would give the same job. And of
            # the same state more is known, but a job of before may not have seen what came late.
            until = after.load.at if loading.answer.job.age else before.watermark
            after = self._lake.confirm(after, until, loading.answer.job.age)
        meter.tell(Stage.DONE)
        self._settle_changes(name)
        self._tidy_up(name)
        rows_before = None if before is None else before.rows
        objects = len(loading.answer.job.objects)
        return replace(
            meter.result(Outcome.LOADED, after, rows_before, objects=objects),
            mode=load.mode,
            reason=load.reason,
            counts=load.counts,
            schema_changes=load.schema_changes,
            gap=load.gap,
        )

    def _settle_changes(self, name: TableName) -> None:
        """Record what loads changed; the next load does what this one cannot."""
        folder = self._staging.folder(name)
        try:
            keep = self._options.keep_changes
            if not self._lake.has_unsettled_changes(name, keep):
                return
            with self._workshop.turn(folder, "changes") as options:
                self._lake.settle_changes(name, keep, options)
        except (DapPipelineError, OSError) as error:
            _LOG.warning("%s: what changed could not be recorded: %s", name, error)

    def _tidy_up(self, name: TableName) -> None:
        """Remove what is no longer needed; the load is published whatever happens here."""
        self._staging.clear(name)
        try:
            self._lake.vacuum(name, self._options.keep_versions)
        except (DapPipelineError, OSError) as error:
            _LOG.warning("%s: old versions could not be removed: %s", name, error)
