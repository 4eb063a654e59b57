"""A `dap-pipeline dev` of its own, and what a person would click in its UI."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

T = TypeVar("T")

ENDED = {"SUCCESS", "FAILURE", "CANCELED"}

_LAUNCH = """mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_TERMINATE = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
_EVENTS = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  ... on MessageEvent { message stepKey }
  ... on ExecutionStepFailureEvent { error { message } } } } } }"""
_MADE = """query($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
  assetMaterializations(limit: 10) { runId } } } }"""
_SENSORS = '{ sensorsOrError(repositorySelector: {repositoryName: "__repository__", ' + (
    'repositoryLocationName: "dap_pipeline"}) { ... on Sensors { results { name '
    "sensorState { status } } } } }"
)


def until(question: Callable[[], T | None], seconds: float) -> T:
    """Ask until there is an answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = question()
        if answer is not None:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"no answer within {seconds} seconds")


@dataclass(frozen=True)
class Ui:
    """The UI's own questions to Dagster."""

    process: subprocess.Popen[str]
    port: int

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = requests.post(
            f"http://127.0.0.1:{self.port}/graphql",
            json={"query": query, "variables": variables},
            timeout=30,
        )
        data: dict[str, Any] = answer.json()["data"]
        return data

    def launch(self, *keys: Sequence[str]) -> str:
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "dap_pipeline",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": list(key)} for key in keys],
        }
        launched = self.ask(_LAUNCH, p={"selector": selector, "runConfigData": {}})
        run_id: str = launched["launchPipelineExecution"]["run"]["runId"]
        return run_id

    def status(self, run_id: str) -> str:
        status: str = self.ask(_STATUS, id=run_id)["runOrError"]["status"]
        return status

    def ended(self, run_id: str, seconds: float) -> str:
        def status() -> str | None:
            now = self.status(run_id)
            return now if now in ENDED else None

        return until(status, seconds)

    def terminate(self, run_id: str) -> None:
        self.ask(_TERMINATE, id=run_id)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.ask(_EVENTS, id=run_id)["logsForRun"]["events"]
        return events

    def runs_that_made(self, *key: str) -> list[str]:
        asset = self.ask(_MADE, key={"path": list(key)})["assetOrError"]
        return [made["runId"] for made in asset.get("assetMaterializations", ())]

    def sensors(self) -> dict[str, str]:
        results = self.ask(_SENSORS)["sensorsOrError"]["results"]
        return {sensor["name"]: sensor["sensorState"]["status"] for sensor in results}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def dev(folder: Path, environment: Mapping[str, str]) -> Iterator[Ui]:
    """Run `dap-pipeline dev` in a folder until the block is left."""
    port = free_port()
    command = [sys.executable, "-m", "dap_pipeline.cli", "dev", "--port", str(port)]
    with (folder / "dev.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    ui = Ui(process, port)
    try:
        until(lambda: _ready(ui), 90)
        yield ui
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _ready(ui: Ui) -> bool | None:
    assert ui.process.poll() is None, "`dap-pipeline dev` ended early"
    try:
        return bool(ui.sensors())
    except (requests.RequestException, KeyError, ValueError):
        return None


def processes_below(folder: Path) -> list[str]:
    """List processes that were started in a folder or below, by their command."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(folder):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found
