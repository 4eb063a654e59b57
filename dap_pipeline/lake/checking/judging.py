"""Turns facts about a version of a table into the results of its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dap_pipeline.lake.checking.facts import TableFacts
from dap_pipeline.lake.checking.orphans import Orphans
from dap_pipeline.lake.checking.results import CheckName, CheckResult, Detail, Severity, verdict
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.contract import Contract
from dap_pipeline.lake.evolution import ShapeChange
from dap_pipeline.lake.records import PublishedTable

PLACEHOLDER_SHARE = 0.01
"""Share of a column's values that may be placeholders before the check warns."""

FEWEST_ROWS = 100
"""Rows by which a table may change without a warning, however small it is."""


def key_is_unique(facts: TableFacts, shape: TableShape) -> CheckResult:
    """State that every row has a key of its own."""
    details = [
        Detail(place=name, count=facts.rows - facts.values[name], note="rows have no value")
        for name in shape.key
        if facts.rows and facts.values[name] < facts.rows
    ]
    if facts.repeated:
        details.append(
            Detail(
                place=", ".join(shape.key),
                count=facts.repeated.count,
                note="keys occur more than once",
                examples=facts.repeated.examples,
            )
        )
    return verdict(
        CheckName.KEY_IS_UNIQUE,
        details,
        severity=Severity.ERROR,
        good=f"{facts.rows:,} rows, each with a key of its own.",
        bad="Some rows share a key or have none.",
    )


def required_is_there(facts: TableFacts, shape: TableShape) -> CheckResult:
    """State that required columns have a value in every row."""
    # Of structs and lists the footers do not tell in which rows they are NULL.
    required = [
        c.name
        for c in shape.columns
        if c.required
        and not (c.gone or c.lacking or c.masked)
        and c.type.item is None
        and not c.type.members
    ]
    details = [
        Detail(place=name, count=facts.rows - facts.values[name], note="rows have no value")
        for name in required
        if facts.rows and facts.values[name] < facts.rows
    ]
    return verdict(
        CheckName.REQUIRED_IS_THERE,
        details,
        severity=Severity.ERROR,
        good=f"{len(required)} required columns have a value in every row.",
        bad="Required values are missing.",
    )


def members_are_known(facts: TableFacts) -> CheckResult:
    """State that enumerations hold only what the schema lists."""
    details = [
        Detail(
            place=name,
            count=found.rows,
            note="rows have a value that the schema does not list",
            examples=found.examples,
        )
        for name, found in facts.unknown.items()
    ]
    return verdict(
        CheckName.MEMBERS_ARE_KNOWN,
        details,
        severity=Severity.WARN,
        good="Every value of an enumeration is one that the schema lists.",
        bad="Enumerations have values that the schema does not list.",
    )


def row_count_is_plausible(
    rows: int, before: int | None, limit: float | None, *, may_be_empty: bool
) -> CheckResult:
    """State that a load changed the number of rows by no more than a share of it."""
    severity, details = Severity.WARN, []
    if before and not rows and not may_be_empty:
        severity = Severity.ERROR
        details = [Detail(place="rows", count=before, note="rows were there before, none now")]
    elif before and limit is not None and _is_much(rows, before, limit):
        words = f"rows more or less, of {before:,}: more than {limit:.0%}"
        details = [Detail(place="rows", count=abs(rows - before), note=words)]
    good = f"{rows:,} rows; there is no load before to compare with."
    if before is not None:
        good = f"{rows:,} rows, {before:,} before."
    return verdict(
        CheckName.ROW_COUNT_IS_PLAUSIBLE,
        details,
        severity=severity,
        good=good,
        bad=f"{rows:,} rows, {before or 0:,} before.",
        count=rows,
    )


def _is_much(rows: int, before: int, limit: float) -> bool:
    change = abs(rows - before)
    return change > FEWEST_ROWS and change > limit * before


def no_column_went_null(
    facts: TableFacts, shape: TableShape, before: Mapping[str, int] | None
) -> CheckResult:
    """State that no column lost all its values.

    ``before`` counts the values of the version before; None where it cannot be had.
    """
    details = [
        Detail(place=c.name, count=before[c.name], note="values were there before, none now")
        for c in shape.columns
        if before
        and facts.rows
        and before.get(c.name)
        and not facts.values[c.name]
        and c.masked is None
    ]
    good = "Every column that had values still has some."
    if before is None:
        good = "There is no version before to compare with."
    return verdict(
        CheckName.NO_COLUMN_WENT_NULL,
        details,
        severity=Severity.WARN,
        good=good,
        bad="Columns lost all their values.",
        count=len(details),
    )


def references_resolve(found: Orphans, table: PublishedTable) -> CheckResult:
    """State that what rows refer to is there; DAP does not promise it."""
    looked = f"{found.checked} references of {found.rows:,} rows"
    if found.rows < table.rows:
        looked += f" (a sample of {table.rows:,})"
    left_out = f"; {len(found.unchecked)} more cannot be checked" if found.unchecked else ""
    result = verdict(
        CheckName.REFERENCES_RESOLVE,
        found.broken,
        severity=Severity.WARN,
        good=f"{looked} lead somewhere{left_out}.",
        bad=f"{looked}: some lead nowhere{left_out}.",
    )
    return result.model_copy(update={"details": (*found.broken, *found.unchecked)})


def placeholders(facts: TableFacts) -> CheckResult:
    """Count the values that DAP replaced by a marker; many of them are a warning."""
    details, most = [], 0.0
    notes = (
        (facts.oversized, "texts were too long"),
        (facts.unspecified, "values are unspecified"),
    )
    for counts, note in notes:
        for name, count in counts.items():
            share = count / max(facts.values[name], 1)
            most = max(most, share)
            words = f"{note} and replaced by DAP ({share:.1%} of its values)"
            details.append(Detail(place=name, count=count, note=words))
    total = sum(detail.count or 0 for detail in details)
    return CheckResult(
        name=CheckName.PLACEHOLDERS,
        passed=most <= PLACEHOLDER_SHARE,
        severity=Severity.WARN,
        summary=f"{total:,} values are placeholders." if total else "No value is a placeholder.",
        count=total,
        details=tuple(details),
    )


def schema_is_as_before(changes: Sequence[ShapeChange], contract: Contract) -> CheckResult:
    """Describe what the load changed about the columns; a warning where the contract says so."""
    told = [change for change in changes if not change.harmless]
    details = tuple(Detail(place=c.column or "table", note=str(c)) for c in changes)
    summary = f"{len(told)} changes of the schema." if told else "The schema is as before."
    return CheckResult(
        name=CheckName.SCHEMA_IS_AS_BEFORE,
        passed=not told or contract is Contract.EVOLVE,
        severity=Severity.WARN,
        summary=summary,
        count=len(told),
        details=details,
    )
