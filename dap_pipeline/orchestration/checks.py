"""The checks of a table's asset: evaluated in the step that loads the table.

A step of its own would cost a process for each table. What was said about an unchanged version is
said again without reading it (``lake/checking``). A failed check never undoes a load, and a check
that cannot be evaluated never fails one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import dagster as dg
from dagster import MetadataValue

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.checking.results import (
    GROUPS,
    MEANINGS,
    CheckName,
    CheckReport,
    CheckResult,
    Severity,
)
from dap_pipeline.lake.freshness import FreshnessRules
from dap_pipeline.orchestration.naming import table_key
from dap_pipeline.settings import Settings

if TYPE_CHECKING:
    from dap_pipeline.lake.tables import Lake

_SEVERITIES = {
    Severity.ERROR: dg.AssetCheckSeverity.ERROR,
    Severity.WARN: dg.AssetCheckSeverity.WARN,
}
_MOST_LINES = 20


def check_specs(name: TableName) -> list[dg.AssetCheckSpec]:
    """Name the checks of a table's asset."""
    key = table_key(name)
    return [
        dg.AssetCheckSpec(group, asset=key, description=" ".join(MEANINGS[c] for c in checks))
        for group, checks in GROUPS.items()
    ]


def freshness_policy(name: TableName, settings: Settings) -> dg.FreshnessPolicy:
    """Say when Dagster warns that a table is late, and when it is stale."""
    rules = FreshnessRules.from_settings(settings)
    return dg.FreshnessPolicy.time_window(
        fail_window=rules.stale_after(name), warn_window=rules.late_after(name)
    )


class Checkable(Protocol):
    """What holds the tables and says how they are checked: an engine, as a rule."""

    lake: Lake
    settings: Settings


def check_results(
    engine: Checkable, name: TableName, log: logging.Logger
) -> list[dg.AssetCheckResult]:
    """Check what is published of a table; whatever goes wrong is a warning, never a failure."""
    try:
        report = _report(engine, name)
        return [_result(group, checks, report) for group, checks in GROUPS.items()]
    except Exception as error:
        log.warning(f"{name} was loaded, but cannot be checked: {error}")
        return [_not_evaluated(group, error) for group in GROUPS]


def _report(engine: Checkable, name: TableName) -> CheckReport:
    # Imported here, since the definitions load without DuckDB.
    from dap_pipeline.lake.checking.run import CheckRules, check_table

    report = check_table(engine.lake, name, CheckRules.from_settings(engine.settings))
    if report is None:
        raise LookupError("it is not in the lake any more")
    return report


def _result(group: str, checks: Sequence[CheckName], report: CheckReport) -> dg.AssetCheckResult:
    results = [result for result in report.results if result.name in checks]
    failed = [result for result in results if not result.passed]
    grave = any(result.severity is Severity.ERROR for result in failed)
    return dg.AssetCheckResult(
        passed=not failed,
        check_name=group,
        severity=_SEVERITIES[Severity.ERROR if grave else Severity.WARN],
        description=" ".join(result.summary for result in failed or results),
        metadata=_metadata(results, report),
    )


def _metadata(results: Sequence[CheckResult], report: CheckReport) -> Mapping[str, MetadataValue]:
    lines = [f"* {_escaped(str(d))}" for result in results for d in result.details]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"* and {len(lines) - _MOST_LINES} more: `dap-pipeline check`"]
    found: dict[str, MetadataValue] = {
        result.name.value: MetadataValue.int(result.count) for result in results
    }
    found["lake_version"] = MetadataValue.int(report.version)
    found["checked_at"] = MetadataValue.timestamp(report.checked_at)
    if lines:
        found["found"] = MetadataValue.md("\n".join(lines))
    return found


def _escaped(text: str) -> str:
    """Keep a text from being read as Markdown or HTML: values of enumerations may be anything."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-!|&" else c for c in text).replace("\n", " ")


def _not_evaluated(group: str, error: Exception) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        check_name=group,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"The check could not be evaluated. {error}",
    )
