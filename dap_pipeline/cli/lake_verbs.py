"""The verbs of lake and warehouse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
from rich.console import Console
from rich.table import Table

from dap_pipeline.cli.common import (
    Globals,
    bytes_text,
    json_option,
    namespace_option,
    pass_globals,
    print_json,
    selected,
    table_option,
    timeout_option,
)
from dap_pipeline.cli.progress import showing
from dap_pipeline.cli.summary import loaded_row, show_summary
from dap_pipeline.dap.models import TableName, format_instant, namespace_name
from dap_pipeline.errors import UnknownTableError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import LoadRecord, PublishedTable
from dap_pipeline.lake.tables import Lake
from dap_pipeline.settings import SourceFormat
from dap_pipeline.warehouse.build import build_warehouse


@click.command()
@namespace_option
@table_option
@click.option(
    "--source-format",
    type=click.Choice([f.value for f in SourceFormat], case_sensitive=False),
    help="Format to fetch; else DAP_PIPELINE_SOURCE_FORMAT, else parquet. The rows are the same.",
)
@timeout_option
@json_option("the summary")
@pass_globals
def load(
    choices: Globals,
    namespace: str,
    tables: str,
    source_format: str | None,
    job_timeout: float | None,
    as_json: bool,
) -> int:
    """Load tables into the lake and register them in the warehouse, as the Dagster assets do."""
    settings = choices.settings(source_format=source_format, job_timeout=job_timeout)
    with Engine.open(settings) as engine:
        names = selected(engine.client, settings, namespace, tables)
        with showing(choices, len(names)) as listener:
            result = engine.load_many(names, listener=listener)
        if result.results:
            report = build_warehouse(engine.lake, settings.warehouse_file)
            choices.say(f"{len(report.tables)} tables registered in {report.file}")
    return show_summary(choices, names, result, loaded_row, as_json=as_json)


@click.command()
@json_option("the tables")
@pass_globals
def status(choices: Globals, as_json: bool) -> None:
    """Show what is in the lake and how fresh it is, without asking DAP."""
    settings = choices.settings()
    published = Lake(settings.lake_dir).tables()
    rows = [_status_row(table, settings.stale_after) for table in published]
    if as_json:
        print_json(rows)
        return
    if not rows:
        choices.say(
            f"The lake {settings.lake_dir} is empty. "
            "Load tables with `dap-pipeline load --namespace canvas --table all`."
        )
        return
    _print_table(
        ["table", "rows", "bytes", "as of", "age", "schema", "last load", "checked", ""],
        [
            [
                f"{row['namespace']}.{row['table']}",
                f"{row['rows']:,}",
                bytes_text(table.bytes),
                str(row["as_of"]),
                str(row["age"]),
                str(row["schema_version"]),
                str(row["last_load"]),
                str(row["checked"]),
                "stale" if row["stale"] else "",
            ]
            for row, table in zip(rows, published, strict=True)
        ],
    )
    stale = sum(bool(row["stale"]) for row in rows)
    choices.say(f"{len(rows)} tables, {stale} stale (not checked for {settings.stale_after}).")


def _status_row(table: PublishedTable, stale_after: timedelta) -> dict[str, object]:
    now = datetime.now(UTC)
    age = now - table.load.at
    return {
        "namespace": table.name.namespace,
        "table": table.name.table,
        "rows": table.rows,
        "bytes": table.bytes,
        "files": len(table.files),
        "as_of": format_instant(table.load.at),
        "age": _age(age),
        "age_seconds": round(age.total_seconds()),
        "checked": format_instant(table.checked_at.replace(microsecond=0)),
        # By the last check, not by the age: nothing may have happened in the table for long.
        "stale": now - table.checked_at > stale_after,
        "schema_version": table.load.schema_version,
        "kind": table.load.kind.value,
        "job_id": table.load.job_id,
        "last_load": format_instant(table.load.committed_at.replace(microsecond=0)),
        "version": table.version,
    }


def _age(age: timedelta) -> str:
    hours, rest = divmod(round(age.total_seconds()), 3600)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {rest // 60} min"


@click.command()
@namespace_option
@click.option("--table", required=True, metavar="TABLE", help="The table.")
@json_option("the versions")
@pass_globals
def history(choices: Globals, namespace: str, table: str, as_json: bool) -> None:
    """Show the versions of a table, the newest first, without asking DAP."""
    name = TableName(namespace_name(namespace), table)
    records = Lake(choices.settings().lake_dir).history(name)
    if not records:
        raise UnknownTableError(
            f"{name} is not in the lake",
            advice="See what is there with `dap-pipeline status`.",
        )
    rows = [
        _history_row(record, before)
        for record, before in zip(records, [*records[1:], None], strict=True)
    ]
    if as_json:
        print_json(rows)
    else:
        columns = ["version", "committed_at", "kind", "as_of", "rows", "change", "job_id"]
        _print_table(columns, [[_text(row[column]) for column in columns] for row in rows])


def _history_row(record: LoadRecord, before: LoadRecord | None) -> dict[str, object]:
    return {
        "version": record.version,
        "committed_at": format_instant(record.committed_at.replace(microsecond=0)),
        "kind": record.kind.value,
        "as_of": format_instant(record.at),
        "since": None if record.since is None else format_instant(record.since),
        "schema_version": record.schema_version,
        "rows": record.rows,
        "change": record.rows - (0 if before is None else before.rows),
        "job_id": record.job_id,
    }


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


@click.command()
@pass_globals
def register(choices: Globals) -> None:
    """Build the warehouse's DuckDB file anew from what is in the lake."""
    settings = choices.settings()
    report = build_warehouse(Lake(settings.lake_dir), settings.warehouse_file)
    click.echo(f"{len(report.tables)} tables registered in {report.file}")


@click.command("refresh-catalogue")
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAMESPACE",
    help="Only this namespace; may be repeated. Else all that are known.",
)
@pass_globals
def refresh_catalogue(choices: Globals, namespaces: tuple[str, ...]) -> int:
    """Ask DAP which tables there are and how they look, and keep it in the data folder.

    The Dagster assets follow after `Reload definitions`.
    """
    with Engine.open(choices.settings()) as engine:
        wanted = [namespace_name(n) for n in namespaces]
        result = engine.refresh_catalogue(wanted or None)
    for error in result.failures.values():
        click.echo(f"Error: {error}", err=True)
    click.echo(f"{len(result.results)} schemas kept in {engine.settings.catalogue_dir}")
    return 1 if result.failures else 0


def _print_table(headings: list[str], rows: list[list[str]]) -> None:
    # As wide as it needs: rich would cut words to fit a terminal, or a pipe, of 80 columns.
    console = Console(width=1000)
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        numeric = heading in ("rows", "bytes", "change", "version")
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table, highlight=False)
