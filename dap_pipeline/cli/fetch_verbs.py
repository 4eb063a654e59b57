"""The verbs of Instructure's `dap`: files as DAP made them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from dap_pipeline.cli.common import (
    Globals,
    json_option,
    namespace_option,
    output_option,
    pass_globals,
    print_json,
    selected,
    table_option,
    timeout_option,
)
from dap_pipeline.cli.progress import showing
from dap_pipeline.cli.summary import fetched_row, show_summary
from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.download import Downloader
from dap_pipeline.dap.jobs import JobPace, JobRunner
from dap_pipeline.dap.many import for_each
from dap_pipeline.dap.models import (
    Format,
    IncrementalQuery,
    Query,
    SnapshotQuery,
    TableName,
    VersionedSchema,
    namespace_name,
    parse_instant,
)
from dap_pipeline.dap.raw import RawFetcher
from dap_pipeline.dap.shared import shared_folder
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import InvalidQueryError, StorageError
from dap_pipeline.settings import Settings, Verify

_format_option = click.option(
    "--format",
    "format",
    type=click.Choice([f.value for f in Format], case_sensitive=False),
    default=Format.JSONL.value,
    show_default=True,
    help="Format of the files.",
)
_verify_option = click.option(
    "--verify",
    type=click.Choice([v.value for v in Verify], case_sensitive=False),
    help="`full` decodes every file before it gets its name, `size` looks at length and first "
    "bytes only; else DAP_PIPELINE_VERIFY, else full.",
)


@dataclass(frozen=True)
class _Fetching:
    """What a fetch was asked for."""

    namespace: str
    tables: str
    query: Query
    output: Path
    as_json: bool


class _InstantType(click.ParamType[datetime]):
    name = "instant"

    def convert(
        self,
        value: str | datetime,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_instant(value)
        except InvalidQueryError as error:
            self.fail(str(error), param, ctx)


@click.command()
@namespace_option
@table_option
@_format_option
@output_option
@_verify_option
@timeout_option
@json_option("the summary")
@pass_globals
def snapshot(
    choices: Globals,
    namespace: str,
    tables: str,
    format: str,
    output_directory: Path,
    verify: str | None,
    job_timeout: float | None,
    as_json: bool,
) -> int:
    """Fetch whole tables as files into DIR/job_<id>/."""
    query = SnapshotQuery(Format(format.lower()))
    settings = choices.settings(verify=verify, job_timeout=job_timeout)
    asked = _Fetching(namespace, tables, query, output_directory, as_json)
    return _fetch(choices, settings, asked)


@click.command()
@namespace_option
@table_option
@_format_option
@click.option(
    "--since",
    type=_InstantType(),
    required=True,
    metavar="DATETIME",
    help="Changes after this instant, as in 2026-06-13T09:30:00Z or 2026-06-13T09:30:00+02:00.",
)
@click.option(
    "--until",
    type=_InstantType(),
    metavar="DATETIME",
    help="Changes up to this instant; else up to the newest.",
)
@output_option
@_verify_option
@timeout_option
@json_option("the summary")
@pass_globals
def incremental(
    choices: Globals,
    namespace: str,
    tables: str,
    format: str,
    since: datetime,
    until: datetime | None,
    output_directory: Path,
    verify: str | None,
    job_timeout: float | None,
    as_json: bool,
) -> int:
    """Fetch what changed in tables as files into DIR/job_<id>/."""
    if until is not None and until < since:
        raise click.UsageError("--until lies before --since.")
    query = IncrementalQuery(Format(format.lower()), since, until)
    settings = choices.settings(verify=verify, job_timeout=job_timeout)
    asked = _Fetching(namespace, tables, query, output_directory, as_json)
    return _fetch(choices, settings, asked)


def _fetch(choices: Globals, settings: Settings, asked: _Fetching) -> int:
    client = DapClient.from_settings(settings)
    names = selected(client, settings, asked.namespace, asked.tables)
    with (
        _raw_fetcher(client, settings, asked.output) as fetcher,
        showing(choices, len(names)) as listener,
    ):
        result = for_each(
            names,
            lambda name, stop: fetcher.fetch(name, asked.query, listener=listener, stop=stop),
            parallel=settings.parallel_tables,
            listener=listener,
            stop=Stop(),
        )
    return show_summary(choices, names, result, fetched_row, as_json=asked.as_json)


@contextlib.contextmanager
def _raw_fetcher(client: DapClient, settings: Settings, output: Path) -> Iterator[RawFetcher]:
    downloader = Downloader(
        client.http,
        connections=settings.connections,
        verify=settings.verify,
        patience=client.patience,
        shared=shared_folder(settings),
    )
    runner = JobRunner(client, JobPace.from_settings(settings))
    locks = settings.data_dir.absolute() / "locks"
    with contextlib.closing(downloader):
        yield RawFetcher(client, runner, downloader, output=output, locks=locks)


@click.command("list")
@namespace_option
@json_option("the names")
@pass_globals
def list_tables(choices: Globals, namespace: str, as_json: bool) -> None:
    """List the tables of a namespace."""
    client = DapClient.from_settings(choices.settings())
    names = client.list_tables(namespace_name(namespace), Stop())
    if as_json:
        print_json(list(names))
    else:
        click.echo("".join(f"{name}\n" for name in names), nl=False)


@click.command()
@namespace_option
@table_option
@output_option
@json_option("the summary")
@pass_globals
def schema(
    choices: Globals, namespace: str, tables: str, output_directory: Path, as_json: bool
) -> int:
    """Save the JSON schemas of tables as DIR/<table>_schema_version_<n>.json."""
    settings = choices.settings()
    client = DapClient.from_settings(settings)
    names = selected(client, settings, namespace, tables)
    with showing(choices, len(names), starts_jobs=False) as listener:
        result = for_each(
            names,
            lambda name, stop: _save(client.schema(name, stop), name, output_directory),
            parallel=settings.parallel_tables,
            listener=listener,
            stop=Stop(),
        )
    return show_summary(
        choices,
        names,
        result,
        lambda path: {"outcome": "done", "file": str(path)},
        as_json=as_json,
    )


def _save(versioned: VersionedSchema, name: TableName, folder: Path) -> Path:
    file = folder / f"{name.table}_schema_version_{versioned.version}.json"
    text = json.dumps(versioned.model_dump(by_alias=True), indent=4)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / f".{file.name}.new"
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(file)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror}",
            advice="Choose another --output-directory, or free space.",
        ) from error
    return file
