"""Registers the published tables in DuckDB, by itself when tables were loaded.

One build of the warehouse file registers every table, so all registrations are one computation.
"""

# Dagster compares the annotation of `context` with its classes, so annotations are not postponed.

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from dap_pipeline.dap.catalogue import Catalogue, CatalogueTable
from dap_pipeline.errors import DapPipelineError
from dap_pipeline.orchestration.describing import (
    data_version,
    description_of,
    registration_metadata,
    view_metadata,
)
from dap_pipeline.orchestration.failing import as_failure
from dap_pipeline.orchestration.namespaces import namespace_results, namespace_specs
from dap_pipeline.orchestration.naming import DUCKDB, table_key, view_key
from dap_pipeline.orchestration.resources import WarehouseResource
from dap_pipeline.settings import Settings

if TYPE_CHECKING:
    from dap_pipeline.warehouse import LeftOut

_loaded = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())

# Dagster's `eager()` would wait for ever for a table that was never loaded, and would not catch
# up after a run that loaded tables and skipped the registration because one of them failed.
# Its `since_last_handled()` would miss a table that is loaded between a registration and the next
# look of the sensor. A registration that failed is not tried again before a table is loaded.
upstream_updated_and_idle = (
    _loaded.since(dg.AutomationCondition.newly_updated())
    & ~dg.AutomationCondition.newly_requested().since(_loaded)
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("upstream_updated_and_idle")


def build_registration(catalogue: Catalogue, settings: Settings) -> dg.AssetsDefinition:
    """Make the assets of all tables as registered in DuckDB."""

    @dg.multi_asset(
        name="register_in_duckdb",
        specs=[
            *(_spec(table, settings) for table in catalogue.tables),
            *namespace_specs(catalogue, upstream_updated_and_idle),
        ],
        can_subset=True,
    )
    def register_in_duckdb(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        try:
            report = warehouse.build()
        except DapPipelineError as error:
            raise as_failure(error) from None
        context.log.info(
            f"{report.file} registers {len(report.tables)} tables, "
            f"built in {report.seconds:.1f} seconds."
        )
        for left_out in report.left_out:
            context.log.warning(str(left_out))
        for registered in report.tables:
            key = view_key(registered.name)
            if key in context.selected_asset_keys:
                yield dg.MaterializeResult(
                    asset_key=key,
                    metadata=registration_metadata(registered.table, report.file, report.seconds),
                    data_version=data_version(registered.table),
                )
        yield from namespace_results(context, report.tables, settings)
        _fail_for_what_was_asked(context, report.left_out)

    return register_in_duckdb


def _fail_for_what_was_asked(
    context: dg.AssetExecutionContext, left_out: Sequence["LeftOut"]
) -> None:
    """Fail at the end, when the others are registered, since a table of the run cannot be read.

    Raises:
        dagster.Failure: with the words of the first, and the number of all.
    """
    failed = [
        each
        for each in left_out
        if not each.only_changes and view_key(each.name) in context.selected_asset_keys
    ]
    if failed:
        more = f" {len(failed) - 1} more are in the log." if failed[1:] else ""
        failure = as_failure(failed[0].error)
        raise dg.Failure(
            f"{failed[0]}{more}", metadata=failure.metadata, allow_retries=failure.allow_retries
        )


def build_registration_sensor() -> dg.AutomationConditionSensorDefinition:
    """Make the sensor that registers loaded tables, at most once a minute."""
    return dg.AutomationConditionSensorDefinition(
        "register_loaded_tables",
        target=dg.AssetSelection.groups(DUCKDB),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=60,
        description="Registers tables in DuckDB after the run that loaded them.",
    )


def _spec(table: CatalogueTable, settings: Settings) -> dg.AssetSpec:
    return dg.AssetSpec(
        view_key(table.name),
        deps=[table_key(table.name)],
        group_name=DUCKDB,
        kinds={DUCKDB},
        description=description_of(table, settings),
        metadata=view_metadata(table, settings),
        automation_condition=upstream_updated_and_idle,
        # A table that was never loaded has no view; that is no failure.
        skippable=True,
    )
