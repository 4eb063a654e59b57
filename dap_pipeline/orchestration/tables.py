"""One asset per table of the catalogue."""

# Dagster compares the annotation of `context` with its classes, so annotations are not postponed.

import enum
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from dap_pipeline.dap.catalogue import Catalogue, CatalogueTable
from dap_pipeline.dap.models import TableName, format_instant
from dap_pipeline.dap.progress import Progress, Stage
from dap_pipeline.errors import DapPipelineError, RequestForbiddenError
from dap_pipeline.lake.records import LoadMode, LoadResult, Outcome
from dap_pipeline.orchestration.checks import check_results, check_specs, freshness_policy
from dap_pipeline.orchestration.describing import (
    data_version,
    description_of,
    load_metadata,
    source_of,
    table_metadata,
)
from dap_pipeline.orchestration.failing import as_failure, fail_with_the_run
from dap_pipeline.orchestration.naming import group_of, table_key
from dap_pipeline.orchestration.previews import preview_metadata
from dap_pipeline.orchestration.resources import DapResource
from dap_pipeline.settings import Settings

if TYPE_CHECKING:
    from dap_pipeline.lake.engine import Engine

POOL = "dap"
"""Dagster's pool of the tables; it limits nothing until the instance gives it a limit."""

_SECONDS_BETWEEN_LINES = 30.0
# The step says these itself.
_UNLOGGED = {Stage.QUEUED, Stage.DONE, Stage.UNCHANGED, Stage.FAILED}


class Mode(enum.Enum):
    """What a load is asked to do, in the words that the launchpad takes."""

    # Dagster takes the names of an enumeration, not its values.
    snapshot = LoadMode.SNAPSHOT
    incremental = LoadMode.INCREMENTAL
    auto = LoadMode.AUTO


class LoadConfig(dg.Config):
    """What the launchpad lets one choose for a table."""

    mode: Mode = Field(
        Mode.snapshot,
        description="snapshot takes the whole table, incremental what changed since the last "
        "load; auto takes what changed where that is possible, else the whole table.",
    )
    or_auto: bool = Field(
        default=False,
        description="Load in mode auto where DAP forbids the mode for this account; the schedules "
        "set it, so that a turn as a snapshot that is forbidden takes what changed.",
    )


def build_table_assets(catalogue: Catalogue, settings: Settings) -> list[dg.AssetsDefinition]:
    """Make the asset of every table that the catalogue knows."""
    return [build_table_asset(table, settings) for table in catalogue.tables]


def build_table_asset(table: CatalogueTable, settings: Settings) -> dg.AssetsDefinition:
    """Make one table's asset; materializing it loads the table from DAP into the lake."""
    name, source = table.name, source_of(settings)

    @dg.asset(
        key=table_key(name),
        group_name=group_of(name),
        kinds={"parquet"},
        description=description_of(table, settings),
        metadata=table_metadata(table, settings),
        check_specs=check_specs(name),
        pool=POOL,
        freshness_policy=freshness_policy(name, settings),
    )
    def load(
        context: dg.AssetExecutionContext, config: LoadConfig, dap: DapResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        fail_with_the_run(context, name)
        context.log.info(f"Loading {name} from {source}.")
        try:
            result = _loaded(dap.engine(), name, config, context.log)
        except DapPipelineError as error:
            # The chain of causes would bury the one sentence that helps.
            raise as_failure(error.at(name.namespace, name.table)) from None
        context.log.info(summary_of(result))
        for warning in warnings_of(result):
            context.log.warning(warning)
        checks = check_results(dap.engine(), name, context.log)
        yield _described(context, result, checks, settings.preview_rows)

    return load


def _loaded(
    engine: "Engine", name: TableName, config: LoadConfig, log: dg.DagsterLogManager
) -> LoadResult:
    mode, listener = config.mode.value, StageLog(log)
    log.info(f"Mode: {mode}.")
    try:
        return engine.load(name, mode=mode, listener=listener)
    except RequestForbiddenError as error:
        if not config.or_auto:
            raise
        log.warning(f"{error.at(name.namespace, name.table)} Loading in mode auto instead.")
    return engine.load(name, mode=LoadMode.AUTO, listener=listener)


def summary_of(result: LoadResult) -> str:
    """Say in a sentence how a load ended."""
    table = result.table
    state = f"{table.rows:,} rows as of {format_instant(table.watermark)}"
    if result.outcome is Outcome.UNCHANGED:
        return f"{table.name} is unchanged at {state}: {result.reason}."
    counts = result.counts
    changed = (
        f" {counts.inserted:,} inserted, {counts.updated:,} updated, {counts.deleted:,} deleted."
        if counts
        else ""
    )
    kind = table.load.kind.value
    return f"{table.name} was loaded ({kind}): {state}, {table.bytes:,} bytes of Parquet.{changed}"


def warnings_of(result: LoadResult) -> list[str]:
    """Say what about a load someone should know: why a snapshot, new columns, lost rows."""
    name = result.table.name
    told = [f"{name}: {change}" for change in result.schema_changes]
    if result.reason and result.previous_rows is not None and result.outcome is Outcome.LOADED:
        told.append(f"{name}: a snapshot was taken, since {result.reason}.")
    return [*told, *([] if result.gap is None else [f"{name}: {result.gap}"])]


def _described(
    context: dg.AssetExecutionContext,
    result: LoadResult,
    checks: list[dg.AssetCheckResult],
    preview_rows: int,
) -> dg.MaterializeResult[None]:
    # The table is published by now: a fault in describing it must not make the step fail.
    try:
        return dg.MaterializeResult(
            metadata={**load_metadata(result), **preview_metadata(result.table, preview_rows)},
            data_version=data_version(result.table),
            check_results=checks,
        )
    except Exception as error:
        context.log.warning(f"The load was published, but cannot be described: {error!r}")
        return dg.MaterializeResult(check_results=checks)


class StageLog:
    """Writes a table's progress to the step's log: each new stage, and now and then within one."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._stage: Stage | None = None
        self._written = 0.0

    def __call__(self, progress: Progress) -> None:
        """Write a line when there is something new to say."""
        if progress.stage in _UNLOGGED:
            return
        with self._lock:
            now = time.monotonic()
            quiet = now - self._written < _SECONDS_BETWEEN_LINES
            if progress.stage is self._stage and quiet:
                return
            self._stage, self._written = progress.stage, now
        self._log.info(line_of(progress))


def line_of(progress: Progress) -> str:
    """Say in a line where a table is."""
    facts = [f"{progress.table}: {progress.stage.value}"]
    if progress.job_id:
        facts.append(f"job {progress.job_id}")
    if progress.parts:
        facts.append(f"{progress.parts_done} of {progress.parts} parts")
    if progress.bytes_done:
        facts.append(f"{progress.bytes_done:,} bytes")
    if progress.note:
        facts.append(progress.note)
    return ", ".join(facts)
