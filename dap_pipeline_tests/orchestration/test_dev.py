from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr
from starlette.responses import JSONResponse, Response

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.errors import ConfigurationError, MissingCredentialsError
from dap_pipeline.orchestration.dev import run_dev
from dap_pipeline.orchestration.home import environment_of
from dap_pipeline.sandbox.interceptors import Call, Interceptor, Proceed
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.settings import load_settings
from dap_pipeline_tests.cli.running import clean_environment

from .dev_process import Ui, dev, free_port, processes_below, until
from .school import RefusedTable, definitions_for, settings_for, small_sandbox

SLOW_JOB = "00000000-0000-4000-8000-000000000000"

pytestmark = pytest.mark.begun_first


class EndlessJob(Interceptor):
    """Answers that the job of one table is running, for ever."""

    def __init__(self, table: str) -> None:
        self.table = table

    async def answer(self, call: Call, proceed: Proceed) -> Response:
        started = call.endpoint is Endpoint.DATA and call.table == self.table
        if started or call.job_id == SLOW_JOB:
            return JSONResponse({"id": SLOW_JOB, "status": "running"})
        return await proceed()


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """Dagster over a small service whose credentials are set, as a school runs it."""
    folder = tmp_path_factory.mktemp("dev")
    faults = (EndlessJob("everything"), RefusedTable("nothing"))
    with (
        pytest.MonkeyPatch.context() as patch,
        small_sandbox(folder / "school", *faults) as sandbox,
    ):
        settings = settings_for(sandbox, folder)
        definitions_for(settings, patch)
        with dev(folder, clean_environment() | environment_of(settings)) as running:
            yield running
    assert not processes_below(folder)


@pytest.mark.slow
def test_the_sensor_runs_without_being_started(ui: Ui) -> None:
    assert ui.sensors() == {"register_loaded_tables": "RUNNING"}


@pytest.mark.slow
def test_a_launched_table_is_loaded_and_then_registered_by_itself(ui: Ui) -> None:
    run_id = ui.launch(("canvas", "users"))
    assert ui.ended(run_id, 60) == "SUCCESS"
    assert ui.runs_that_made("canvas", "users") == [run_id]
    view = ("duckdb", "canvas", "users")
    [registered] = until(lambda: ui.runs_that_made(*view) or None, 150)
    assert registered != run_id


@pytest.mark.slow
def test_cancelling_takes_effect_within_seconds(ui: Ui) -> None:
    run_id = ui.launch(("canvas", "everything"))
    until(
        lambda: any(f"job {SLOW_JOB}" in e.get("message", "") for e in ui.events(run_id)) or None,
        60,
    )
    began = time.monotonic()
    ui.terminate(run_id)
    assert ui.ended(run_id, 20) == "CANCELED"
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_the_log_of_a_failed_run_tells_what_dap_said_and_the_uuid(ui: Ui) -> None:
    run_id = ui.launch(("canvas", "nothing"), ("canvas_logs", "web_logs"))
    assert ui.ended(run_id, 60) == "FAILURE"
    assert ui.runs_that_made("canvas_logs", "web_logs") == [run_id]
    [told] = [e["error"]["message"] for e in ui.events(run_id) if e.get("error")]
    assert "canvas.nothing: " in told
    assert "This table is out of order" in told
    assert "uuid " in told
    [last] = [e for e in ui.events(run_id) if "Steps failed" in e.get("message", "")]
    assert "canvas__nothing" in last["message"]


@pytest.mark.slow
def test_without_credentials_the_embedded_service_is_started_and_ended(tmp_path: Path) -> None:
    environment = clean_environment() | {"DAP_PIPELINE_DEMO_ROWS": "2000"}
    with dev(tmp_path, environment) as ui:
        run_id = ui.launch(("canvas", "courses"))
        assert ui.ended(run_id, 90) == "SUCCESS"
        assert (tmp_path / "data" / "sandbox" / "lake" / "canvas" / "courses").is_dir()
        in_flight = ui.launch(*[(n.namespace, n.table) for n in load_catalogue().names("catalog")])
        until(lambda: ui.status(in_flight) == "STARTED" or None, 60)
    assert ui.process.returncode == 0
    assert not processes_below(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path / ".dagster" / "sandbox")) as history:
        assert {run.run_id for run in history.get_runs()} >= {run_id, in_flight}
        assert all(run.is_finished for run in history.get_runs())
    assert "the embedded service, with a made-up school" in (tmp_path / "dev.log").read_text()


def test_a_port_that_is_taken_is_told_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"^port {port} cannot be used: .* --port"):
            run_dev(load_settings(), port=port)


@pytest.mark.parametrize("given", ["client_id", "client_secret"])
def test_half_of_the_credentials_is_a_mistake(given: str) -> None:
    halves = {"client_id": "", "client_secret": SecretStr("")} | {given: "half"}
    with pytest.raises(MissingCredentialsError, match="the other half is missing"):
        run_dev(load_settings(**halves), port=free_port())
