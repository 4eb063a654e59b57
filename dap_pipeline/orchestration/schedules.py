"""Jobs that refresh a namespace or the catalogue, and their daily schedules."""

# Dagster compares the annotation of `context` with its classes, so annotations are not postponed.

from typing import TYPE_CHECKING

import dagster as dg

from dap_pipeline.dap.catalogue import Catalogue
from dap_pipeline.errors import DapPipelineError, UnknownTableError
from dap_pipeline.orchestration.failing import as_failure
from dap_pipeline.orchestration.naming import group_of
from dap_pipeline.orchestration.resources import DapResource

if TYPE_CHECKING:
    # What `define_asset_job` gives; Dagster does not export its name.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition as AssetJob,
    )

    from dap_pipeline.lake.engine import Engine


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


def build_schedules(
    jobs: "list[AssetJob]",
) -> list[dg.ScheduleDefinition]:
    """Make a daily schedule for each job, each at a minute of its own, stopped until started."""
    return [
        dg.ScheduleDefinition(
            name=f"{job.name}_daily",
            job=job,
            cron_schedule=f"{7 + 13 * place % 60} 3 * * *",
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Once a day, in the night hours of UTC.",
        )
        for place, job in enumerate(jobs)
    ]


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
