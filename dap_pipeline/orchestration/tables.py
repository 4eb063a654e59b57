"""One asset per table of the catalogue."""

# Dagster compares the annotation of `context` with its classes, so annotations are not postponed.

import threading
import time

import dagster as dg

from dap_pipeline.dap.catalogue import Catalogue, CatalogueTable
from dap_pipeline.dap.models import format_instant
from dap_pipeline.dap.progress import Progress, Stage
from dap_pipeline.errors import DapPipelineError
from dap_pipeline.lake.records import LoadResult, Outcome
from dap_pipeline.orchestration.describing import (
    data_version,
    description_of,
    load_metadata,
    source_of,
    table_metadata,
)
from dap_pipeline.orchestration.failing import as_failure, fail_with_the_run
from dap_pipeline.orchestration.naming import group_of, table_key
from dap_pipeline.orchestration.resources import DapResource
from dap_pipeline.settings import Settings

POOL = "dap"
"""Dagster's pool of the tables; it limits nothing until the instance gives it a limit."""

_SECONDS_BETWEEN_LINES = 30.0
# The step says these itself.
_UNLOGGED = {Stage.QUEUED, Stage.DONE, Stage.UNCHANGED, Stage.FAILED}


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
        pool=POOL,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=settings.stale_after),
    )
    def load(context: dg.AssetExecutionContext, dap: DapResource) -> dg.MaterializeResult[None]:
        fail_with_the_run(context, name)
        context.log.info(f"Loading {name} from {source}.")
        try:
            result = dap.engine().load(name, listener=StageLog(context.log))
        except DapPipelineError as error:
            # The chain of causes would bury the one sentence that helps.
            raise as_failure(error.at(name.namespace, name.table)) from None
        context.log.info(summary_of(result))
        return _described(context, result)

    return load


def summary_of(result: LoadResult) -> str:
    """Say in a sentence how a load ended."""
    table = result.table
    state = f"{table.rows:,} rows as of {format_instant(table.load.at)}"
    if result.outcome is Outcome.UNCHANGED:
        return f"{table.name} is unchanged: DAP has nothing newer than {state}."
    return f"{table.name} was loaded: {state}, {table.bytes:,} bytes of Parquet."


def _described(context: dg.AssetExecutionContext, result: LoadResult) -> dg.MaterializeResult[None]:
    # The table is published by now: a fault in describing it must not make the step fail.
    try:
        return dg.MaterializeResult(
            metadata=load_metadata(result), data_version=data_version(result.table)
        )
    except Exception as error:
        context.log.warning(f"The load was published, but cannot be described: {error!r}")
        return dg.MaterializeResult()


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
