"""What the checks of a table say, and the form in which they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from dap_pipeline.dap.models import TableName


class CheckName(StrEnum):
    """The checks that every table has."""

    KEY_IS_UNIQUE = "key_is_unique"
    REQUIRED_IS_THERE = "required_is_there"
    MEMBERS_ARE_KNOWN = "members_are_known"
    ROW_COUNT_IS_PLAUSIBLE = "row_count_is_plausible"
    NO_COLUMN_WENT_NULL = "no_column_went_null"
    REFERENCES_RESOLVE = "references_resolve"
    PLACEHOLDERS = "placeholders"
    SCHEMA_IS_AS_BEFORE = "schema_is_as_before"


MEANINGS = {
    CheckName.KEY_IS_UNIQUE: "Every row has a key, and no key occurs twice.",
    CheckName.REQUIRED_IS_THERE: "Columns that DAP's schema requires have a value in every row.",
    CheckName.MEMBERS_ARE_KNOWN: "Enumerations hold only values that the schema lists.",
    CheckName.ROW_COUNT_IS_PLAUSIBLE: "The number of rows is near that of the load before.",
    CheckName.NO_COLUMN_WENT_NULL: "No column that had values lost all of them by the load.",
    CheckName.REFERENCES_RESOLVE: "What rows refer to is in the tables that they refer to.",
    CheckName.PLACEHOLDERS: "Few values are markers that DAP puts in place of the real ones.",
    CheckName.SCHEMA_IS_AS_BEFORE: "The load changed nothing about the columns of the table.",
}
"""What each check states, in a sentence that is true when it passes."""


GROUPS = {
    "rows_are_whole": (CheckName.KEY_IS_UNIQUE, CheckName.REQUIRED_IS_THERE),
    "values_are_known": (CheckName.MEMBERS_ARE_KNOWN, CheckName.PLACEHOLDERS),
    "load_is_plausible": (CheckName.ROW_COUNT_IS_PLAUSIBLE, CheckName.NO_COLUMN_WENT_NULL),
    "references_resolve": (CheckName.REFERENCES_RESOLVE,),
    "schema_is_as_before": (CheckName.SCHEMA_IS_AS_BEFORE,),
}
"""The checks as Dagster shows them, where each one costs 0.03 seconds of processor time a load."""


class Severity(StrEnum):
    """How bad a failed check is."""

    ERROR = "error"
    """The table should not be relied on."""
    WARN = "warn"
    """Worth a look; DAP promises nothing about it, or the cause may be a right one."""


class Detail(BaseModel):
    """What a check found at one place of the table."""

    model_config = ConfigDict(frozen=True)

    place: str
    """The column, or what else was looked at."""
    note: str
    count: int | None = None
    """Rows that it concerns."""
    examples: tuple[str, ...] = ()
    """Keys and identifiers, or values of an enumeration; never values of other columns."""

    def __str__(self) -> str:
        """Say it in a line: ``user_id: 3 rows refer to no row of canvas.users, such as 17``."""
        count = "" if self.count is None else f"{self.count:,} "
        such_as = f", such as {', '.join(self.examples)}" if self.examples else ""
        return f"{self.place}: {count}{self.note}{such_as}"


class CheckResult(BaseModel):
    """What one check says about a version of a table."""

    model_config = ConfigDict(frozen=True)

    name: CheckName
    passed: bool
    severity: Severity
    summary: str
    """One sentence."""
    count: int = 0
    """Rows, columns or changes that the check is about; a number worth plotting."""
    details: tuple[Detail, ...] = ()


class CheckReport(BaseModel):
    """What all checks say about one version of a table."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    table: str
    version: int
    checked_at: datetime
    seconds: float
    """How long the checks took when they were made."""
    results: tuple[CheckResult, ...]

    @property
    def name(self) -> TableName:
        """The table."""
        return TableName(self.namespace, self.table)

    def failed(self, severity: Severity) -> tuple[CheckResult, ...]:
        """Give the failed checks of a severity."""
        return tuple(r for r in self.results if not r.passed and r.severity is severity)


def verdict(
    name: CheckName,
    details: Sequence[Detail],
    *,
    severity: Severity,
    good: str,
    bad: str,
    count: int | None = None,
) -> CheckResult:
    """Make the result of a check that fails by having something to tell.

    Args:
        name: the check.
        details: what it found; nothing means that it passed.
        severity: how bad it is when it failed.
        good: what to say when it passed.
        bad: what to say when it failed.
        count: the number to plot; else the rows of all details.
    """
    if count is None:
        count = sum(detail.count or 0 for detail in details)
    return CheckResult(
        name=name,
        passed=not details,
        severity=severity,
        summary=bad if details else good,
        count=count,
        details=tuple(details),
    )
