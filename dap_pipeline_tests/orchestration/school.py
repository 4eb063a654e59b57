"""What tests of the Dagster layer work on: a small school behind a real service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterEventType, EventLogEntry
from pydantic import SecretStr
from starlette.responses import Response

from dap_pipeline.lake.engine import Engine
from dap_pipeline.orchestration.home import environment_of, sandbox_settings
from dap_pipeline.orchestration.wiring import build_definitions
from dap_pipeline.sandbox import errors
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.interceptors import Call, Interceptor, Proceed
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import Settings, load_settings
from dap_pipeline_tests.sandbox import small_school

USERS = dg.AssetKey(["canvas", "users"])
NOTHING = dg.AssetKey(["canvas", "nothing"])
EVERYTHING = dg.AssetKey(["canvas", "everything"])
WEB_LOGS = dg.AssetKey(["canvas_logs", "web_logs"])


class RefusedTable(Interceptor):
    """Refuses the queries of one table until it is mended."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.mended = False

    async def answer(self, call: Call, proceed: Proceed) -> Response:
        if call.endpoint is Endpoint.DATA and call.table == self.table and not self.mended:
            place = errors.Location(1, 1, 1)
            return errors.validation("This table is out of order.", place).response()
        return await proceed()


@contextmanager
def small_sandbox(
    folder: Path, *interceptors: Interceptor, job_seconds: float = 0.0
) -> Iterator[RunningSandbox]:
    config = SandboxConfig(folder, rate_limits=False, job_polls=0, job_seconds=job_seconds)
    with small_school.running(config, interceptors=interceptors) as running:
        yield running


def settings_for(sandbox: RunningSandbox, folder: Path) -> Settings:
    """Give settings that name the sandbox, and keep the data in the folder."""
    plain = load_settings(data_dir=folder / "data")
    return sandbox_settings(plain).model_copy(
        update={
            "api_url": sandbox.url,
            "client_id": sandbox.client_id,
            "client_secret": SecretStr(sandbox.client_secret),
        }
    )


def definitions_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """Refresh the catalogue from the service and build the definitions, as a user would."""
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    with Engine.open(settings) as engine:
        engine.refresh_catalogue(["canvas", "canvas_logs"])
    return build_definitions(settings)


def materialize(
    definitions: dg.Definitions,
    keys: Sequence[dg.AssetKey],
    instance: dg.DagsterInstance,
    run_config: Mapping[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:
    """Materialize assets in this process, as the UI's button does in others."""
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=list(keys),
        raise_on_error=False,
        run_config=run_config,
    )


def failures_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, EventLogEntry]:
    """Give the failed steps of a run, by the step's key."""
    entries = instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE)
    return {entry.step_key or "": entry for entry in entries}


def words_of(entry: EventLogEntry) -> str:
    """Give what a failed step says."""
    assert entry.dagster_event
    data = entry.dagster_event.step_failure_data.user_failure_data
    assert data
    assert data.description
    return data.description
