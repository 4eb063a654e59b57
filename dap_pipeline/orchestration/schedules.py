"""Jobs that refresh a namespace or the catalogue, and the schedules of the former."""

# Dagster compares the annotation of `context` with its classes, so annotations are not postponed.

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
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
from dap_pipeline.orchestration.turns import Turns, snapshots_due
from dap_pipeline.settings import Settings

if TYPE_CHECKING:
    # What `define_asset_job` gives; Dagster does not export its name.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition as AssetJob,
    )

    from dap_pipeline.lake.engine import Engine

_DAY = 24
_READ_AT_ONCE = 4


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
    return [
        _schedule(group, sorted(names[group]), settings, minute=(7 + 13 * place) % 60)
        for place, group in enumerate(sorted(names))
    ]


def _schedule(
    group: str, names: list[TableName], settings: Settings, *, minute: int
) -> dg.ScheduleDefinition:
    turns = Turns(rhythm_of(names[0]), settings.full_snapshot_every)
    hours = turns.rhythm // timedelta(hours=1)
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
        last = last_snapshots(settings.lake_dir, names, context.log)
        due = snapshots_due(names, last, now, turns)
        modes = {n: LoadMode.SNAPSHOT if n in due else LoadMode.AUTO for n in names}
        return dg.RunRequest(run_config=run_config_of(modes, or_auto=True))

    return schedule


def last_snapshots(
    lake_dir: Path, names: Sequence[TableName], log: logging.Logger
) -> dict[TableName, datetime | None]:
    """Look up when each table of the lake had its last snapshot; None where that is unknown.

    The schedule goes on whatever lies in the lake: a table that cannot be read is unknown.
    """
    from dap_pipeline.lake.tables import Lake

    lake = Lake(lake_dir)

    def look_up(name: TableName) -> tuple[bool, datetime | None, str]:
        try:
            table = lake.table(name)
        except Exception as error:
            return True, None, str(error) or repr(error)
        return table is not None, None if table is None else table.snapshot_at, ""

    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        found = dict(zip(names, pool.map(look_up, names), strict=True))
    unread = [problem for _, _, problem in found.values() if problem]
    if unread:
        log.warning(
            f"{len(unread)} of {len(names)} tables cannot be read in the lake; only their turns "
            f"count. The first: {unread[0].splitlines()[0]}"
        )
    return {name: at for name, (is_there, at, _) in found.items() if is_there}


def run_config_of(modes: Mapping[TableName, LoadMode], *, or_auto: bool = False) -> dict[str, Any]:
    """Write the configuration of a run that loads each table in its mode, or else in mode auto."""
    return {
        "ops": {
            op_of(name): {"config": {"mode": mode.value, "or_auto": or_auto}}
            for name, mode in sorted(modes.items())
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
