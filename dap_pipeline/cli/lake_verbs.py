"""The verbs of lake and warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

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
    warn,
)
from dap_pipeline.cli.progress import showing
from dap_pipeline.cli.summary import failure_row, loaded_row, show_summary
from dap_pipeline.cli.tabular import print_table
from dap_pipeline.dap.models import format_instant, namespace_name
from dap_pipeline.errors import LakeError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.freshness import Freshness, FreshnessRules, freshness_of
from dap_pipeline.lake.records import LoadMode, LoadRecord, PublishedTable
from dap_pipeline.lake.tables import Lake
from dap_pipeline.settings import SourceFormat
from dap_pipeline.warehouse.build import build_warehouse

# Loads that `status` looks at: five days of increments every four hours.
_RECENT = 30


@click.command()
@namespace_option
@table_option
@click.option(
    "--source-format",
    type=click.Choice([f.value for f in SourceFormat], case_sensitive=False),
    help="Format to fetch; else DAP_PIPELINE_SOURCE_FORMAT, else parquet. The rows are the same.",
)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in LoadMode], case_sensitive=False),
    default=LoadMode.SNAPSHOT.value,
    show_default=True,
    help="snapshot takes whole tables, incremental what changed since the last load; auto takes "
    "what changed where that is possible, else the whole table.",
)
@timeout_option
@json_option("the summary")
@pass_globals
def load(
    choices: Globals,
    namespace: str,
    tables: str,
    mode: str,
    source_format: str | None,
    job_timeout: float | None,
    as_json: bool,
) -> int:
    """Load tables into the lake and register them in the warehouse, as the Dagster assets do."""
    settings = choices.settings(source_format=source_format, job_timeout=job_timeout)
    with Engine.open(settings) as engine:
        names = selected(engine.client, settings, namespace, tables)
        with showing(choices, len(names)) as listener:
            result = engine.load_many(names, mode=LoadMode(mode), listener=listener)
        if result.results:
            rules = FreshnessRules.from_settings(settings)
            report = build_warehouse(engine.lake, settings.warehouse_file, freshness=rules)
            choices.say(f"{len(report.tables)} tables registered in {report.file}")
            for left_out in report.left_out:
                warn(left_out)
    return show_summary(choices, names, result, loaded_row, as_json=as_json)


@click.command()
@json_option("the tables")
@pass_globals
def status(choices: Globals, as_json: bool) -> int:
    """Show what is in the lake and how fresh it is, without asking DAP.

    The exit code is 1 when a table cannot be read.
    """
    settings = choices.settings()
    lake = Lake(settings.lake_dir)
    readings, rules = lake.readable_tables(), FreshnessRules.from_settings(settings)
    published = list(readings.found.values())
    unrecorded = lake.unrecorded_changes(list(readings.found))
    rows = [
        {
            **_status_row(table, freshness_of(table, rules)),
            "notes": _notes_of(lake, table) + [words] * bool(words),
        }
        for table, words in zip(published, unrecorded, strict=True)
    ]
    if as_json:
        print_json([*rows, *map(failure_row, readings.failures.values())])
    elif rows:
        _print_status(choices, rows)
    elif not readings.failures:
        choices.say(
            f"The lake {settings.lake_dir} is empty. "
            "Load tables with `dap-pipeline load --namespace canvas --table all`."
        )
    for error in readings.failures.values():
        click.echo(f"Error: {error}", err=True)
    return 1 if readings.failures else 0


def _print_status(choices: Globals, rows: Sequence[dict[str, Any]]) -> None:
    print_table(
        ["table", "rows", "bytes", "as of", "age", "schema", "last load", "checked", ""],
        [
            [
                f"{row['namespace']}.{row['table']}",
                f"{row['rows']:,}",
                bytes_text(row["bytes"]),
                str(row["as_of"]),
                str(row["age"]),
                str(row["schema_version"]),
                str(row["last_load"]),
                str(row["checked"]),
                "stale" if row["stale"] else "",
            ]
            for row in rows
        ],
    )
    for row in rows:
        for note in row["notes"]:
            choices.say(f"{row['namespace']}.{row['table']}: {note}")
    stale = sum(bool(row["stale"]) for row in rows)
    choices.say(f"{len(rows)} tables, {stale} stale.")


def _status_row(table: PublishedTable, fresh: Freshness) -> dict[str, object]:
    age = datetime.now(UTC) - table.watermark
    return {
        "namespace": table.name.namespace,
        "table": table.name.table,
        "rows": table.rows,
        "bytes": table.bytes,
        "files": len(table.files),
        "as_of": format_instant(table.watermark),
        "age": _age(age),
        "age_seconds": round(age.total_seconds()),
        "checked": format_instant(table.checked_at.replace(microsecond=0)),
        "stale_at": format_instant(fresh.stale_at.replace(microsecond=0)),
        "stale": fresh.stale,
        "schema_version": table.load.schema_version,
        "kind": table.load.kind.value,
        "job_id": table.load.job_id,
        "last_load": format_instant(table.load.committed_at.replace(microsecond=0)),
        "version": table.version,
    }


def _notes_of(lake: Lake, table: PublishedTable) -> list[str]:
    try:
        return _notes(lake.history(table.name, _RECENT))
    except LakeError as error:
        return [error.what]


def _notes(loads: Sequence[LoadRecord]) -> list[str]:
    """Tell what is worth knowing of the last loads: new columns, why a snapshot, what is lost."""
    changed = next((load.schema_changes for load in loads if load.schema_changes), ())
    notes = [str(change) for change in changed]
    if loads and loads[0].reason:
        notes.append(f"the last load was a {loads[0].kind.value}, since {loads[0].reason}")
    notes += [str(load.gap) for load in loads if load.gap is not None]
    return notes


def _age(age: timedelta) -> str:
    hours, rest = divmod(round(age.total_seconds()), 3600)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {rest // 60} min"


@click.command()
@pass_globals
def register(choices: Globals) -> int:
    """Build the warehouse's DuckDB file anew from what is in the lake.

    The exit code is 1 when something of it cannot be read, and is left out.
    """
    settings = choices.settings()
    lake, rules = Lake(settings.lake_dir), FreshnessRules.from_settings(settings)
    report = build_warehouse(lake, settings.warehouse_file, freshness=rules, anew=True)
    for left_out in report.left_out:
        click.echo(f"Error: {left_out}", err=True)
    click.echo(f"{len(report.tables)} tables registered in {report.file}")
    return 1 if report.left_out else 0


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
