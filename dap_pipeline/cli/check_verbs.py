"""The verb that checks what is in the lake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from dap_pipeline.cli.common import (
    Globals,
    json_option,
    namespace_option,
    pass_globals,
    print_json,
    table_option,
)
from dap_pipeline.dap.models import TableName, namespace_name
from dap_pipeline.dap.selection import ALL
from dap_pipeline.errors import LakeError, UnknownTableError
from dap_pipeline.lake.checking.results import CheckReport, CheckResult, Severity
from dap_pipeline.lake.checking.run import CheckRules, check_table
from dap_pipeline.lake.tables import Lake


@click.command()
@namespace_option
@table_option
@click.option("--again", is_flag=True, help="Read the tables again, even those that are unchanged.")
@json_option("the results")
@pass_globals
def check(choices: Globals, namespace: str, tables: str, again: bool, as_json: bool) -> int:
    """Check tables of the lake, as Dagster does after each load, without asking DAP.

    The exit code is 1 when a check failed that is no mere warning, or could not be made.
    """
    settings = choices.settings()
    lake, rules = Lake(settings.lake_dir), CheckRules.from_settings(settings)
    reports, unreadable = [], 0
    wanted = [text.strip() for text in tables.split(",") if text.strip()]
    for name in _names(lake, namespace_name(namespace), wanted):
        try:
            report = check_table(lake, name, rules, again=again)
        except LakeError as error:
            if error.ends_run:
                raise
            click.echo(f"Error: {error}", err=True)
            unreadable += 1
            continue
        if report is None:
            if ALL in wanted:
                continue  # a load that did not come to its end has left a folder only
            raise _absent(str(name))
        reports.append(report)
        if not as_json:
            for line in _lines(report, everything=choices.verbose):
                click.echo(line)
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    errors = sum(bool(report.failed(Severity.ERROR)) for report in reports)
    warnings = sum(bool(report.failed(Severity.WARN)) for report in reports)
    choices.say(f"{len(reports)} tables checked: {errors} with errors, {warnings} with warnings.")
    return 1 if errors or unreadable else 0


def _names(lake: Lake, namespace: str, tables: Sequence[str]) -> list[TableName]:
    there = [name for name in lake.names() if name.namespace == namespace]
    if ALL in tables:
        if not there:
            raise _absent(f"no table of {namespace}")
        return there
    return [TableName(namespace, text) for text in dict.fromkeys(tables)]


def _absent(what: str) -> UnknownTableError:
    is_one = " " not in what
    return UnknownTableError(
        f"{what} is {'not ' if is_one else ''}in the lake",
        advice="See what is there with `dap-pipeline status`.",
    )


def _lines(report: CheckReport, *, everything: bool) -> Iterator[str]:
    failed = [result for result in report.results if not result.passed]
    many = len(report.results)
    state = f"{len(failed)} of {many} checks failed" if failed else f"{many} checks passed"
    yield f"{report.name}: {state} (version {report.version})"
    for result in report.results if everything else failed:
        yield f"  {_word(result)} {result.name}: {result.summary}"
        for detail in result.details:
            yield f"    {detail}"


def _word(result: CheckResult) -> str:
    return "ok" if result.passed else {Severity.WARN: "warning"}.get(result.severity, "error")
