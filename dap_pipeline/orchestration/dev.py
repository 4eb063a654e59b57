"""`make dev`: the Dagster UI, over DAP or over the embedded service."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from dap_pipeline.errors import ConfigurationError, MissingCredentialsError
from dap_pipeline.orchestration.describing import source_of
from dap_pipeline.orchestration.home import (
    environment_of,
    home_of,
    prepare_home,
    sandbox_settings,
    school_folder,
    using_home,
)
from dap_pipeline.orchestration.processes import Stopped, child, stopping_on_signals
from dap_pipeline.settings import Settings

HOST = "127.0.0.1"

_PRINTED = ("DAP_API_URL", "DAP_CLIENT_ID", "DAP_CLIENT_SECRET")


def run_dev(settings: Settings, *, port: int = 3000) -> int:
    """Serve the Dagster UI until Ctrl-C; give the exit code.

    With credentials it works on DAP. Without, it starts the embedded service, whose data and
    history lie in folders of their own.

    Raises:
        ConfigurationError: the port is taken, half of the credentials is missing, or Dagster runs
            already over the same history.
        StorageError: a folder cannot be written.
    """
    _check_credentials(settings)
    _check_port(port)
    with contextlib.suppress(Stopped), stopping_on_signals():
        return _run(settings, port)
    print("\nStopped.", flush=True)
    return 0


def _run(settings: Settings, port: int) -> int:
    if not settings.has_credentials:
        print("No DAP credentials are set: starting the embedded service.", flush=True)
        with _embedded_service(settings) as ours:
            return _serve(ours, port)
    return _serve(settings, port)


def _check_credentials(settings: Settings) -> None:
    # Half of the credentials is a mistake, not a wish for the embedded service.
    if settings.has_credentials:
        return
    for name, value in (
        ("DAP_CLIENT_ID", settings.client_id),
        ("DAP_CLIENT_SECRET", settings.client_secret.get_secret_value()),
    ):
        if value:
            raise MissingCredentialsError(f"only {name} is set: the other half is missing")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the web server does: the port of a server that has just ended counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be used: {error.strerror}",
                advice="Stop what uses it, or choose another: `dap-pipeline dev --port 3001`.",
            ) from None


@contextlib.contextmanager
def _embedded_service(settings: Settings) -> Iterator[Settings]:
    ours = sandbox_settings(settings)
    command = [sys.executable, "-m", "dap_pipeline.cli", "sandbox", "--port", "0"]
    options = ["--folder", str(school_folder(ours)), "--no-rate-limits"]
    here = Path.cwd()
    with child([*command, *options], {}, here, stdout=subprocess.PIPE) as process:
        told = _told(process)
        yield ours.model_copy(
            update={
                "api_url": told["DAP_API_URL"],
                "client_id": told["DAP_CLIENT_ID"],
                "client_secret": SecretStr(told["DAP_CLIENT_SECRET"]),
            }
        )


def _told(process: subprocess.Popen[str]) -> dict[str, str]:
    """Read the address and the credentials that the service prints when it answers."""
    told: dict[str, str] = {}
    assert process.stdout  # noqa: S101  # it was opened as a pipe
    for line in process.stdout:
        name, _, value = line.strip().partition("=")
        told[name] = value
        if all(each in told for each in _PRINTED):
            return told
    raise ConfigurationError(
        "the embedded service did not start",
        advice="What it says above tells why; `dap-pipeline sandbox` starts it alone.",
    )


@contextlib.contextmanager
def _runs_ended(home: Path) -> Iterator[None]:
    """End the runs that Dagster left "in progress", now if it was killed and when it ends.

    They would hold up the registration of their tables for ever.
    """
    _end_runs(home)
    try:
        yield
    finally:
        _end_runs(home)


def _end_runs(home: Path) -> None:
    import dagster as dg

    status = dg.DagsterRunStatus
    begun = dg.RunsFilter(statuses=[status.STARTING, status.STARTED, status.CANCELING])
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for run in instance.get_runs(begun):
            instance.report_run_canceled(run, "Dagster ended while the run was in progress.")


def _serve(settings: Settings, port: int) -> int:
    home = home_of(settings)
    prepare_home(home)
    environment = {**environment_of(settings), "DAGSTER_HOME": str(home)}
    # In its own folder, so that no `.env` of the working directory overrides the environment.
    with (
        using_home(home),
        _runs_ended(home),
        child(_dagster(port), environment, home) as dagster,
    ):
        if not _answers(dagster, port):
            print("Dagster ended before it served anything; see above.", flush=True)
            return 1
        print(_what_is_served(settings, home, port), flush=True)
        return dagster.wait()


def _dagster(port: int) -> list[str]:
    # Its advice to use `dg dev` is not for this project: that needs another package.
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]
    command = [sys.executable, *quiet, "-m", "dagster", "dev", "--workspace", "workspace.yaml"]
    return [*command, "--host", HOST, "--port", str(port), "--log-level", "warning"]


def _answers(process: subprocess.Popen[str], port: int) -> bool:
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return True
        time.sleep(0.2)
    return False


def _what_is_served(settings: Settings, home: Path, port: int) -> str:
    return "\n".join(
        (
            "",
            f"  Dagster    http://{HOST}:{port}",
            f"  Source     {source_of(settings)}",
            f"  Lake       {settings.lake_dir}",
            f"  Warehouse  {settings.warehouse_file}",
            f"  History    {home}",
            "  Stop with Ctrl-C.",
            "",
        )
    )
