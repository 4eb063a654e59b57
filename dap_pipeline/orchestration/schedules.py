"""Jobs that refresh a namespace or the catalogue, and the schedules of the former."""

# Dagster compares the annotation of `context` with its classes, so annotations are not postponed.

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from dap_pipeline.dap.catalogue import Catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import DapPipelineError, UnknownTableError
from dap_pipeline.lake.freshness import rhythm_of
from dap_pipeline.lake.records import LoadMode
from dap_pipeline.orchestration.failing import as_failure
from dap_pipeline.orchestration.naming import group_of, op_of
from dap_pipeline.orchestration.resources import DapResource
from dap_pipeline.settings import Settings

if TYPE_CHECKING:
    # What `define_asset_job` gives; Dagster does not export its name.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition as AssetJob,
    )

    from dap_pipeline.lake.engine import Engine

_DAY = 24


def build_refresh_jobs(catalogue: Catalogue) -> "list[AssetJob]":
    """Make one job per namespace that loads all its tables.

    The registration in DuckDB is no part of them: there one failed table would skip it for all.
    It follows by its sensor.
    """
    groups = sorted({group_of(name) for name in catalogue.names()})
    return [
        dg.define_asset_job(
            f"refresh_{group}",
            selection=dg.AssetSelection.groups(group),
            description=f"Loads every table of {group}.",
        )
        for group in groups
    ]


def build_schedules(catalogue: Catalogue, settings: Settings) -> list[dg.ScheduleDefinition]:
    """Make a schedule for each namespace, each at a minute of its own, stopped until started."""
    names: dict[str, list[TableName]] = {}
    for name in catalogue.names():
        names.setdefault(group_of(name), []).append(name)
    every = settings.full_snapshot_every
    return [
        _schedule(group, sorted(names[group]), minute=(7 + 13 * place) % 60, every=every)
        for place, group in enumerate(sorted(names))
    ]


def _schedule(
    group: str, names: list[TableName], *, minute: int, every: timedelta
) -> dg.ScheduleDefinition:
    rhythm = rhythm_of(names[0])
    hours = rhythm // timedelta(hours=1)
    how_often, words = ("3", "daily") if hours >= _DAY else (f"*/{hours}", f"every_{hours}_hours")

    @dg.schedule(
        name=f"refresh_{group}_{words}",
        job_name=f"refresh_{group}",
        cron_schedule=f"{minute} {how_often} * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Takes what changed ({words.replace('_', ' ')}); now and then, each table at "
        "a time of its own, a whole one (DAP_PIPELINE_FULL_SNAPSHOT_EVERY).",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        now = context.scheduled_execution_time
        modes = {
            name: LoadMode.SNAPSHOT if snapshot_is_due(name, now, rhythm, every) else LoadMode.AUTO
            for name in names
        }
        return dg.RunRequest(run_config=run_config_of(modes))

    return schedule


def snapshot_is_due(name: TableName, now: datetime, rhythm: timedelta, every: timedelta) -> bool:
    """Tell whether it is the table's turn to be taken as a whole.

    Each table has a turn of its own among those of the span, so no day takes all tables.
    """
    turns = every // rhythm
    if turns < 1:
        return False
    own = int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:8])
    return int(now.timestamp() // rhythm.total_seconds()) % turns == own % turns


def run_config_of(modes: Mapping[TableName, LoadMode]) -> dict[str, Any]:
    """Write the configuration of a run that loads each table in its mode."""
    return {
        "ops": {
            op_of(name): {"config": {"mode": mode.value}} for name, mode in sorted(modes.items())
        }
    }


@dg.op
def ask_dap_for_tables(context: dg.OpExecutionContext, dap: DapResource) -> None:
    """Ask DAP for its tables and their schemas, and keep the answers in the data folder."""
    failures: list[DapPipelineError] = []
    try:
        engine = dap.engine()
        for namespace in engine.catalogue().namespaces:
            failures += _refresh(engine, namespace, context.log)
    except DapPipelineError as error:
        raise as_failure(error) from None
    for failure in failures:
        context.log.error(str(failure))
    if failures:
        raise as_failure(failures[0])
    context.log.info("Reload the definitions to see what changed.")


def _refresh(engine: "Engine", namespace: str, log: dg.DagsterLogManager) -> list[DapPipelineError]:
    try:
        refreshed = engine.refresh_catalogue([namespace])
    except UnknownTableError:
        # A school that does not use Catalog, say, has no such namespace.
        log.warning(f"DAP lists no namespace {namespace} for this account.")
        return []
    log.info(f"{namespace}: DAP gave the schemas of {len(refreshed.results)} tables.")
    return list(refreshed.failures.values())


@dg.job
def refresh_table_list() -> None:
    """Asks DAP which tables there are and what columns they have; loads no data."""
    ask_dap_for_tables()
