"""What the verbs share: options, settings, and how results are shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.selection import ALL, select_tables
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.settings import Settings, load_settings

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Globals:
    """What the arguments before the verb say."""

    overrides: dict[str, str] = field(repr=False)
    quiet: bool
    verbose: bool
    console: Console
    """Standard error: progress and messages."""

    def settings(self, **more: object) -> Settings:
        """Read the settings; arguments win, ``None`` means not given."""
        given = {name: value for name, value in more.items() if value is not None}
        return load_settings(**self.overrides, **given)

    def say(self, text: str) -> None:
        """Write a line to standard error, unless the user wants quiet."""
        if not self.quiet:
            click.echo(text, err=True)


pass_globals = click.make_pass_decorator(Globals)


def _complete_namespace(
    _context: click.Context, _parameter: click.Parameter, typed: str
) -> list[str]:
    return [n for n in load_catalogue().namespaces if n.startswith(typed)]


def _complete_table(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    before, comma, last = typed.rpartition(",")
    names = [n.table for n in load_catalogue().names(context.params.get("namespace"))]
    return [before + comma + name for name in [ALL, *names] if name.startswith(last)]


def namespace_option(function: F) -> F:
    """Add ``--namespace``."""
    return click.option(
        "--namespace",
        required=True,
        metavar="NAMESPACE",
        is_eager=True,
        shell_complete=_complete_namespace,
        help="Where the tables are: canvas, canvas_logs, catalog, or any other that DAP knows.",
    )(function)


def table_option(function: F) -> F:
    """Add ``--table`` of one, several or all tables."""
    return click.option(
        "--table",
        "tables",
        required=True,
        metavar="TABLE",
        shell_complete=_complete_table,
        help="A table, several with commas, or `all`.",
    )(function)


def timeout_option(function: F) -> F:
    """Add ``--timeout``."""
    return click.option(
        "--timeout",
        "job_timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="How long one job may take; else DAP_PIPELINE_JOB_TIMEOUT, else 6 hours.",
    )(function)


def output_option(function: F) -> F:
    """Add ``--output-directory``."""
    return click.option(
        "--output-directory",
        default="downloads",
        show_default=True,
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where files are put; absolute or relative.",
    )(function)


def json_option(what: str) -> Callable[[F], F]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help=f"Give {what} as JSON.")


def selected(client: DapClient, settings: Settings, namespace: str, tables: str) -> list[TableName]:
    """Give the tables that the user named.

    Raises:
        UnknownTableError: one of them is not there.
    """
    catalogue = load_catalogue(settings.catalogue_dir)
    return list(
        select_tables(namespace, tables, catalogue, lambda space: client.list_tables(space, Stop()))
    )


def warn(words: object) -> None:
    """Write to standard error what must be known, also by who wants quiet."""
    click.echo(f"Warning: {words}", err=True)


def print_json(value: object) -> None:
    """Write a value to standard output as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def bytes_text(count: float) -> str:
    """Write a number of bytes as people read it: ``1.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def files_text(count: int) -> str:
    """Write a number of files: ``1 file``, ``2 files``."""
    return f"{count} file" if count == 1 else f"{count} files"
