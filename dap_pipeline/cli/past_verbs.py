"""The verbs of the past: what versions a table has, how to read one, and how to go back to one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from dap_pipeline.cli.common import (
    Globals,
    json_option,
    namespace_option,
    pass_globals,
    print_json,
    warn,
)
from dap_pipeline.cli.tabular import print_table, text_of
from dap_pipeline.dap.models import TableName, format_instant, namespace_name, parse_instant
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import InvalidQueryError, UnknownTableError
from dap_pipeline.lake.freshness import FreshnessRules
from dap_pipeline.lake.past import undone_by
from dap_pipeline.lake.records import LoadRecord, PublishedTable
from dap_pipeline.lake.staging import Staging
from dap_pipeline.lake.tables import Lake
from dap_pipeline.warehouse.build import build_warehouse
from dap_pipeline.warehouse.export import sql_of, write_version

_one_table = click.option("--table", required=True, metavar="TABLE", help="The table.")


@click.command()
@namespace_option
@_one_table
@click.option("--version", type=click.IntRange(min=0), metavar="N", help="Only this version.")
@click.option(
    "--as-of",
    metavar="INSTANT",
    help="Only the version that has the table's state at this instant of DAP.",
)
@click.option("--sql", is_flag=True, help="Print the query that reads the version.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the rows of the version into a .parquet, .csv or .jsonl file.",
)
@json_option("the versions")
@pass_globals
def history(
    choices: Globals,
    namespace: str,
    table: str,
    version: int | None,
    as_of: str | None,
    sql: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show the versions of a table, the newest first, or read one, without asking DAP.

    Without --version and --as-of, --sql and --output are about the current version.
    """
    if version is not None and as_of is not None:
        raise click.UsageError("--version and --as-of exclude each other.")
    name = TableName(namespace_name(namespace), table)
    lake = Lake(choices.settings().lake_dir)
    which = version if as_of is None else _instant(as_of)
    if sql or output is not None:
        _read(choices, lake.as_of(name, which), sql, output)
        return
    wanted = None if which is None else lake.as_of(name, which).load.version
    rows = [row for row in _rows(lake, name) if wanted is None or row["version"] == wanted]
    if as_json:
        print_json(rows)
        return
    columns = ["version", "committed_at", "kind", "as_of", "rows", "change"]
    columns += ["inserted", "updated", "deleted", "job_id", "note"]
    print_table(columns, [[text_of(row[column]) for column in columns] for row in rows])


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except InvalidQueryError as error:
        raise click.BadParameter(str(error), param_hint="--as-of") from None


def _read(choices: Globals, table: PublishedTable, sql: bool, output: Path | None) -> None:
    if sql:
        click.echo(sql_of(table))
    if output is not None:
        rows = write_version(table, output)
        choices.say(f"{rows:,} rows of version {table.version} written to {output}")


def _rows(lake: Lake, name: TableName) -> list[dict[str, object]]:
    records = lake.history(name)
    if not records:
        raise UnknownTableError(
            f"{name} is not in the lake",
            advice="See what is there with `dap-pipeline status`.",
        )
    pairs, undone = zip(records, [*records[1:], None], strict=True), undone_by(records)
    return [_row(record, before, undone.get(record.version)) for record, before in pairs]


def _row(record: LoadRecord, before: LoadRecord | None, undone: int | None) -> dict[str, object]:
    counts = record.counts
    changes = [str(change) for change in record.schema_changes]
    lost = [] if record.gap is None else [str(record.gap)]
    gone = [] if undone is None else [f"undone by version {undone}"]
    return {
        "version": record.version,
        "committed_at": format_instant(record.committed_at.replace(microsecond=0)),
        "kind": record.kind.value,
        "as_of": format_instant(record.at),
        "since": None if record.since is None else format_instant(record.since),
        "schema_version": record.schema_version,
        "rows": record.rows,
        "change": record.rows - (0 if before is None else before.rows),
        "inserted": None if counts is None else counts.inserted,
        "updated": None if counts is None else counts.updated,
        "deleted": None if counts is None else counts.deleted,
        "unchanged": None if counts is None else counts.unchanged,
        "mode": record.mode.value,
        "reason": record.reason,
        "schema_changes": changes,
        "job_id": record.job_id,
        "undone_by": undone,
        "note": " ".join([*filter(None, [record.reason]), *changes, *lost, *gone]),
    }


@click.command()
@namespace_option
@_one_table
@click.option(
    "--version", type=click.IntRange(min=0), required=True, metavar="N", help="The version."
)
@pass_globals
def restore(choices: Globals, namespace: str, table: str, version: int) -> None:
    """Bring an earlier version of a table back, as a new version, and register it.

    The next increment goes on from there. Versions can be brought back as long as their files are
    kept (DAP_PIPELINE_KEEP_VERSIONS).
    """
    settings = choices.settings()
    rules = FreshnessRules.from_settings(settings)
    name = TableName(namespace_name(namespace), table)
    lake = Lake(settings.lake_dir)
    if lake.table(name) is None:
        raise UnknownTableError(
            f"{name} is not in the lake",
            advice="See what is there with `dap-pipeline status`.",
        )
    with Staging(settings.staging_dir).locked(name, Stop()):
        restored = lake.restore(name, version)
    report = build_warehouse(lake, settings.warehouse_file, freshness=rules)
    for left_out in report.left_out:
        warn(left_out)
    click.echo(
        f"{name} is as in version {version} again, as of {format_instant(restored.watermark)}: "
        f"{restored.rows:,} rows, now version {restored.load.version}"
    )
