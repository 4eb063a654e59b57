"""The verbs around the embedded service and Dagster."""

from __future__ import annotations

from pathlib import Path

import click
from requests.auth import HTTPBasicAuth

from dap_pipeline.cli.common import Globals, pass_globals
from dap_pipeline.dap.answers import read_json
from dap_pipeline.dap.http import Http
from dap_pipeline.dap.login import Credentials
from dap_pipeline.errors import ConfigurationError


@click.command()
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows of the made-up school in all; else DAP_PIPELINE_DEMO_ROWS, else 200000.",
)
@pass_globals
def demo(choices: Globals, rows: int | None) -> int:
    """Load all tables of the embedded service with Dagster and answer questions in SQL.

    Never uses real credentials; its data lies in a folder of its own.
    """
    from dap_pipeline.orchestration.demo import run_demo

    return run_demo(choices.settings(demo_rows=rows), choices.console)


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the Dagster UI.")
@pass_globals
def dev(choices: Globals, port: int) -> int:
    """Open the Dagster UI, over DAP when credentials are set, else over the embedded service."""
    from dap_pipeline.orchestration.dev import run_dev

    return run_dev(choices.settings(), port=port)


@click.group(invoke_without_command=True)
@click.option("--port", default=0, help="Port to answer on; 0 takes a free one.", show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to answer on.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where school, jobs and credentials are kept; else sandbox/school in the data folder.",
)
@click.option("--rows", type=click.IntRange(min=1), help="Rows of the made-up school in all.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which school is made up.")
@click.option(
    "--job-seconds",
    type=click.FloatRange(min=0),
    default=0.0,
    help="How long a job takes at least.",
)
@click.option("--no-rate-limits", is_flag=True, help="Answer any number of calls a minute.")
@pass_globals
@click.pass_context
def sandbox(
    context: click.Context,
    choices: Globals,
    port: int,
    host: str,
    folder: Path | None,
    rows: int | None,
    seed: int,
    job_seconds: float,
    no_rate_limits: bool,
) -> None:
    """Run the embedded DAP service with a made-up school.

    Prints DAP_API_URL, DAP_CLIENT_ID and DAP_CLIENT_SECRET, one a line, when it is ready.
    """
    if context.invoked_subcommand is not None:
        return
    from dap_pipeline.sandbox.config import SandboxConfig, SandboxError
    from dap_pipeline.sandbox.serve import serve

    settings = choices.settings(demo_rows=rows)
    config = SandboxConfig(
        folder=folder or settings.data_dir.absolute() / "sandbox" / "school",
        host=host,
        port=port,
        rate_limits=not no_rate_limits,
        seed=seed,
        rows=settings.demo_rows,
        job_seconds=job_seconds,
    )
    try:
        serve(config)
    except SandboxError as error:
        raise ConfigurationError(
            f"the embedded service cannot start: {error}",
            advice="Choose another --port or --folder.",
        ) from None


@sandbox.command()
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    default=4.0,
    show_default=True,
    help="Hours that one step takes.",
)
@click.option("--steps", type=click.IntRange(min=1), default=1, show_default=True)
@pass_globals
def advance(choices: Globals, hours: float, steps: int) -> None:
    """Let time pass for a running embedded service: rows are inserted, updated and deleted.

    The service is the one that DAP_API_URL, DAP_CLIENT_ID and DAP_CLIENT_SECRET name.
    """
    settings = choices.settings()
    credentials = Credentials.from_settings(settings)
    http = Http(settings.api_url, idle_timeout=settings.idle_timeout)
    answer = http.send(
        "POST",
        "/sandbox/advance",
        auth=HTTPBasicAuth(credentials.client_id, credentials.client_secret),
        json={"hours": hours, "steps": steps},
    )
    if answer.status_code == 404:
        raise ConfigurationError(
            f"{settings.api_url} is not an embedded service",
            advice="Set DAP_API_URL to what `dap-pipeline sandbox` prints.",
        )
    reached = read_json(answer)
    now = reached.get("now") if isinstance(reached, dict) else None
    click.echo(f"The service's time is now {now}.")
