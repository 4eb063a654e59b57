"""Puts assets, resources, jobs, schedules, sensor and executor together."""

from __future__ import annotations

import dagster as dg

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.orchestration.alerts import build_alert_sensors
from dap_pipeline.orchestration.execution import build_executor, console_logger
from dap_pipeline.orchestration.registration import build_registration, build_registration_sensor
from dap_pipeline.orchestration.resources import DapResource, WarehouseResource
from dap_pipeline.orchestration.schedules import (
    build_refresh_jobs,
    build_schedules,
    refresh_table_list,
)
from dap_pipeline.orchestration.tables import build_table_assets
from dap_pipeline.settings import Settings


def build_definitions(settings: Settings) -> dg.Definitions:
    """Make everything that Dagster shows and runs."""
    catalogue = load_catalogue(settings.catalogue_dir)
    jobs = build_refresh_jobs(catalogue)
    return dg.Definitions(
        assets=[*build_table_assets(catalogue, settings), build_registration(catalogue, settings)],
        resources={
            "dap": DapResource(
                api_url=settings.api_url,
                client_id=dg.EnvVar("DAP_CLIENT_ID"),
                client_secret=dg.EnvVar("DAP_CLIENT_SECRET"),
                data_dir=str(settings.data_dir.absolute()),
            ),
            "warehouse": WarehouseResource(
                lake_dir=str(settings.lake_dir), file=str(settings.warehouse_file)
            ),
        },
        jobs=[*jobs, refresh_table_list],
        schedules=build_schedules(catalogue, settings),
        sensors=[build_registration_sensor(), *build_alert_sensors(settings)],
        executor=build_executor(settings),
        loggers={"console": console_logger},
    )
