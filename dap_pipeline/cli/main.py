"""The verbs of `dap-pipeline`, and how each of its runs ends.

Exit codes: 0 all well, 1 some table failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import gc
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import cast

import click
from click.core import ParameterSource
from rich.console import Console
from rich.logging import RichHandler

from dap_pipeline.cli.common import Globals
from dap_pipeline.errors import (
    CancelledError,
    ConfigurationError,
    DapPipelineError,
    UnknownTableError,
)

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_EPILOG = """\
Results go to standard output, everything else to standard error.
Exit codes: 0 all well, 1 some table failed, 2 wrong usage, 130 interrupted.
"""

_VERBS = {
    "snapshot": "fetch_verbs.snapshot",
    "incremental": "fetch_verbs.incremental",
    "list": "fetch_verbs.list_tables",
    "schema": "fetch_verbs.schema",
    "load": "lake_verbs.load",
    "status": "lake_verbs.status",
    "check": "check_verbs.check",
    "history": "past_verbs.history",
    "restore": "past_verbs.restore",
    "register": "lake_verbs.register",
    "refresh-catalogue": "lake_verbs.refresh_catalogue",
    "diagram": "diagram_verbs.diagram",
    "demo": "service_verbs.demo",
    "dev": "service_verbs.dev",
    "sandbox": "service_verbs.sandbox",
    "settings": "setup_verbs.settings",
    "completion": "setup_verbs.completion",
}


class _Verbs(click.Group):
    """Imports a verb when it is asked for: what the others need takes most of a short command."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _VERBS:
            return None
        module, name = _VERBS[cmd_name].split(".")
        verb = getattr(importlib.import_module(f"dap_pipeline.cli.{module}"), name)
        return cast("click.Command", verb)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.option(
    "--base-url",
    metavar="URL",
    help="Address of the DAP gateway; else DAP_API_URL, else https://api-gateway.instructure.com.",
)
@click.option("--client-id", metavar="CLIENTID", help="DAP client id; else DAP_CLIENT_ID.")
@click.option(
    "--client-secret",
    metavar="CLIENTSECRET",
    help="DAP client secret; better set DAP_CLIENT_SECRET, since arguments show in process lists.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but warnings and errors.")
@click.option("--verbose", "-v", is_flag=True, help="Say more of what is done.")
@click.option("--no-tracking", is_flag=True, hidden=True, help="Taken as `dap` takes it: no use.")
@click.option(
    "--non-interactive", is_flag=True, help="Plain lines instead of moving progress bars."
)
@click.version_option(package_name="dap-pipeline", prog_name="dap-pipeline")
@click.pass_context
def cli(
    context: click.Context,
    base_url: str | None,
    client_id: str | None,
    client_secret: str | None,
    quiet: bool,
    verbose: bool,
    no_tracking: bool,  # noqa: ARG001  # nothing is tracked, with or without it
    non_interactive: bool,
) -> None:
    """Fetch tables of Instructure's Data Access Platform (DAP, "Canvas Data 2").

    As files, as with Instructure's own `dap` (snapshot, incremental, list, schema), or into a lake
    of Parquet that DuckDB queries (load, status, history).
    """
    if (
        client_secret
        and context.get_parameter_source("client_secret") is ParameterSource.COMMANDLINE
    ):
        click.echo(
            "Warning: --client-secret shows in the process list; set DAP_CLIENT_SECRET instead.",
            err=True,
        )
    console = Console(stderr=True, force_terminal=False if non_interactive else None)
    _log_to(
        context, console, logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
    )
    given = {"api_url": base_url, "client_id": client_id, "client_secret": client_secret}
    context.obj = Globals(
        overrides={name: value for name, value in given.items() if value is not None},
        quiet=quiet,
        verbose=verbose,
        console=console,
    )


def _log_to(context: click.Context, console: Console, level: int) -> None:
    """Write the log to standard error: above the bars where there are some."""
    handler: logging.Handler = logging.StreamHandler()
    form = "%(levelname)s: %(message)s"
    if console.is_terminal:
        handler = RichHandler(console=console, show_time=False, show_path=False)
        form = "%(message)s"
    handler.setFormatter(logging.Formatter(form))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    # Several runs in one process, as in tests, each write to their own standard error.
    context.call_on_close(lambda: root.removeHandler(handler))
    context.call_on_close(lambda: root.setLevel(before))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    code = run(arguments)
    # Before it ends, Python would look for garbage in all that is there. The system takes it back.
    gc.freeze()
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    try:
        code = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="dap-pipeline",
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort, CancelledError):
        click.echo(
            "Interrupted. What has arrived whole is kept; the same command goes on there.", err=True
        )
        return INTERRUPTED
    except (ConfigurationError, UnknownTableError) as error:
        click.echo(f"Error: {error}", err=True)
        return USAGE
    except DapPipelineError as error:
        click.echo(f"Error: {error}", err=True)
        return FAILED
    except BrokenPipeError:
        # The reader of our output has gone, as in `dap-pipeline list … | head`.
        sys.stderr.close()
        return OK
    return code if isinstance(code, int) else OK
