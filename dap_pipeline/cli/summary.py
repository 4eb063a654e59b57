"""The end of a run over many tables: what became of each, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import click

from dap_pipeline.cli.common import Globals, bytes_text, files_text, print_json
from dap_pipeline.dap.many import ManyResult
from dap_pipeline.dap.models import CompleteSnapshot, TableName, format_instant
from dap_pipeline.dap.raw import FetchedFiles
from dap_pipeline.errors import DapPipelineError
from dap_pipeline.lake.records import NOTHING_NEWER, LoadResult, Outcome

T = TypeVar("T")
Row = Mapping[str, str | int | None]


def failure_row(error: DapPipelineError) -> Row:
    """Describe the failure of a table."""
    place = {"namespace": error.place.namespace, "table": error.place.table}
    return {**place, **_words(error)}


def show_summary(
    choices: Globals,
    names: Sequence[TableName],
    result: ManyResult[T],
    row_of: Callable[[T], Row],
    *,
    as_json: bool,
) -> int:
    """Print what became of each table, and give the exit code: 1 when one failed.

    Args:
        choices: whether to be quiet.
        names: all tables that were asked for.
        result: what became of them.
        row_of: describes one success; its ``outcome`` is counted.
        as_json: print JSON instead of lines.
    """
    rows = [_row(name, result, row_of) for name in names]
    if as_json:
        print_json(rows)
    else:
        _print_lines(rows)
    counts = {o: sum(r["outcome"] == o for r in rows) for o in dict.fromkeys(_outcomes(rows))}
    choices.say(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    if result.ended_by is not None:
        click.echo(f"Ended early, since this concerns every table. {result.ended_by}", err=True)
    return 1 if len(result.results) < len(names) else 0


def fetched_row(fetched: FetchedFiles) -> Row:
    """Describe files that were fetched."""
    job = fetched.job
    instant = job.at if isinstance(job, CompleteSnapshot) else job.until
    return {
        "outcome": "done" if fetched.fetched or not fetched.files else "unchanged",
        "as_of": format_instant(instant),
        "job_id": job.id,
        "schema_version": job.schema_version,
        "files": len(fetched.files),
        "bytes": fetched.bytes,
        "folder": str(fetched.folder),
    }


def loaded_row(loaded: LoadResult) -> Row:
    """Describe a table that was loaded."""
    table, counts = loaded.table, loaded.counts
    changes = [str(change) for change in loaded.schema_changes]
    lost = [] if loaded.gap is None else [str(loaded.gap)]
    return {
        "outcome": "done" if loaded.outcome is Outcome.LOADED else "unchanged",
        "as_of": format_instant(table.watermark),
        "job_id": table.load.job_id,
        "schema_version": table.load.schema_version,
        "rows": table.rows,
        "bytes": table.bytes,
        "version": table.version,
        "mode": loaded.mode.value,
        "kind": table.load.kind.value,
        "inserted": None if counts is None else counts.inserted,
        "updated": None if counts is None else counts.updated,
        "deleted": None if counts is None else counts.deleted,
        "unchanged": None if counts is None else counts.unchanged,
        "reason": loaded.reason,
        "note": " ".join([*changes, *lost]),
    }


def _row(name: TableName, result: ManyResult[T], row_of: Callable[[T], Row]) -> Row:
    where = {"namespace": name.namespace, "table": name.table}
    if name in result.results:
        return {**where, **row_of(result.results[name])}
    if name in result.failures:
        return {**where, "outcome": "failed", **_failure(result.failures[name])}
    return {**where, "outcome": "not begun"}


def _failure(error: DapPipelineError) -> Row:
    return {
        **_words(error),
        "job_id": error.place.job_id,
        "uuid": error.place.uuid,
        "error_type": error.place.error_type,
    }


def _words(error: DapPipelineError) -> Row:
    return {"error": type(error).__name__, "message": str(error)}


def _outcomes(rows: Sequence[Row]) -> list[str]:
    return [str(row["outcome"]) for row in rows]


def _print_lines(rows: Sequence[Row]) -> None:
    for row in rows:
        table = f"{row['namespace']}.{row['table']}"
        click.echo(f"{table}: {row['outcome']}{_details(row)}")


def _details(row: Row) -> str:
    if row["outcome"] == "failed":
        # The message begins with the table's name, which stands before it already.
        return ": " + str(row["message"]).removeprefix(f"{row['namespace']}.{row['table']}: ")
    parts = []
    if "rows" in row:
        parts.append(f"{row['rows']:,} rows")
    if row.get("inserted") is not None and row["outcome"] == "done":
        parts.append("+{inserted:,} ~{updated:,} -{deleted:,}".format(**row))
    if isinstance(files := row.get("files"), int):
        parts.append(files_text(files))
    if isinstance(size := row.get("bytes"), int):
        parts.append(bytes_text(size))
    if row.get("as_of"):
        parts.append(f"as of {row['as_of']}")
    parts += [str(row[place]) for place in ("folder", "file") if row.get(place)]
    if row["outcome"] == "done" and row.get("reason"):
        parts.append(f"{row['kind']}, since {row['reason']}")
    if row["outcome"] == "unchanged" and row.get("reason", NOTHING_NEWER) != NOTHING_NEWER:
        parts.append(str(row["reason"]))
    details = f" ({', '.join(parts)})" if parts else ""
    return f"{details}. {row['note']}" if row.get("note") else details
