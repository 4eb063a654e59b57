"""Checks a published table, or gives what was said about the same version before."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import duckdb

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError
from dap_pipeline.lake.checking import judging
from dap_pipeline.lake.checking.facts import count_values, read_facts
from dap_pipeline.lake.checking.keeping import Kept, keep, read_kept
from dap_pipeline.lake.checking.orphans import find_orphans
from dap_pipeline.lake.checking.results import CheckName, CheckReport, CheckResult
from dap_pipeline.lake.commits import LOG_FOLDER
from dap_pipeline.lake.contract import Contracts
from dap_pipeline.lake.duck import RewriteOptions, connect, not_of_the_data
from dap_pipeline.lake.evolution import ShapeChange, changes_between
from dap_pipeline.lake.folders import make_private, storage_errors
from dap_pipeline.lake.places import Places
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.references import references_of, targets_of
from dap_pipeline.lake.tables import Lake
from dap_pipeline.settings import Settings

_REVISION = 1
"""Counted up when the checks say something else about the same data."""


@dataclass(frozen=True)
class CheckRules:
    """What a school holds for right, and what the checks may use."""

    contracts: Contracts
    row_change_warn: float | None
    may_be_empty: Places
    reference_rows: int
    options: RewriteOptions

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the rules.

        Raises:
            ConfigurationError: one cannot be read.
        """
        return cls(
            contracts=Contracts.parse(settings.contract),
            row_change_warn=settings.row_change_warn or None,
            may_be_empty=Places.parse(settings.may_be_empty, "DAP_PIPELINE_MAY_BE_EMPTY"),
            reference_rows=settings.reference_rows,
            options=RewriteOptions(
                memory=settings.duckdb_memory,
                threads=settings.duckdb_threads,
                temp_dir=settings.staging_dir,
            ),
        )

    def mark(self, name: TableName) -> str:
        """Name the rules as far as they decide what is said about a table."""
        facts = [
            _REVISION,
            self.contracts.of(name),
            self.row_change_warn,
            self.may_be_empty.have(name),
            self.reference_rows,
        ]
        return json.dumps(facts)


def check_table(
    lake: Lake, name: TableName, rules: CheckRules, *, again: bool = False
) -> CheckReport | None:
    """Check the published version of a table; None if the table is not in the lake.

    What was said about the same version by the same rules is given again, unless ``again`` is set.
    Where only a table that it refers to has changed, the references alone are looked up anew.

    Raises:
        StorageError: the disk is full.
        LakeError: the table cannot be read, or the memory does not suffice.
    """
    table = lake.table(name)
    if table is None:
        return None
    kept = None if again else _still_true(lake, table, rules)
    others = _versions(lake, name)
    if kept is not None and kept.others == others:
        return kept.report
    return _check(lake, table, rules, kept, others)


def _still_true(lake: Lake, table: PublishedTable, rules: CheckRules) -> Kept | None:
    kept = read_kept(lake.folder(table.name))
    same = kept and kept.report.version == table.version and kept.rules == rules.mark(table.name)
    return kept if same else None


def _check(
    lake: Lake,
    table: PublishedTable,
    rules: CheckRules,
    kept: Kept | None,
    others: Mapping[str, int | None],
) -> CheckReport:
    started = time.monotonic()
    doing = f"check {table.name}"
    with storage_errors(doing):
        make_private(rules.options.temp_dir)
        with tempfile.TemporaryDirectory(dir=rules.options.temp_dir, prefix=".checks-") as folder:
            options = replace(rules.options, temp_dir=Path(folder, "spill"))
            try:
                with connect(options) as connection:
                    results, values = _results(connection, lake, table, rules, kept)
            except duckdb.Error as error:
                known = not_of_the_data(error, doing)
                what = f"its files cannot be checked ({type(error).__name__})"
                raise known or LakeError(what).at(*_place(table)) from None
    report = CheckReport(
        namespace=table.name.namespace,
        table=table.name.table,
        version=table.version,
        checked_at=datetime.now(UTC),
        seconds=round(time.monotonic() - started, 3),
        results=results,
    )
    mark = rules.mark(table.name)
    keep(lake.folder(table.name), Kept(report=report, rules=mark, others=others, values=values))
    return report


def _place(table: PublishedTable) -> tuple[str, str]:
    return table.name.namespace, table.name.table


def _results(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    table: PublishedTable,
    rules: CheckRules,
    kept: Kept | None,
) -> tuple[tuple[CheckResult, ...], Mapping[str, int]]:
    references = _references(connection, lake, table, rules)
    if kept is not None:
        swapped = (
            references if r.name is CheckName.REFERENCES_RESOLVE else r for r in kept.report.results
        )
        return tuple(swapped), kept.values
    facts = read_facts(connection, table)
    before = _before(lake, table)
    rows_before = None if before is None else before.load.rows
    results = (
        judging.key_is_unique(facts, table.shape),
        judging.required_is_there(facts, table.shape),
        judging.members_are_known(facts),
        judging.row_count_is_plausible(
            table.rows,
            rows_before,
            rules.row_change_warn,
            may_be_empty=rules.may_be_empty.have(table.name),
        ),
        judging.no_column_went_null(facts, table.shape, _values_before(connection, lake, before)),
        references,
        judging.placeholders(facts),
        judging.schema_is_as_before(_changes(table, before), rules.contracts.of(table.name)),
    )
    return results, facts.values


def _references(
    connection: duckdb.DuckDBPyConnection, lake: Lake, table: PublishedTable, rules: CheckRules
) -> CheckResult:
    references = references_of(table.name, table.shape)
    names = {reference.target.table for reference in references}
    tables = ((name, table if name == table.name else lake.table(name)) for name in names)
    others = {name: other for name, other in tables if other is not None}
    found = find_orphans(connection, table, references, others, rules.reference_rows)
    return judging.references_resolve(found, table)


def _before(lake: Lake, table: PublishedTable) -> PublishedTable | None:
    """Give the version that the last load replaced, as far as the log goes back."""
    loads = (load for load in lake.history(table.name) if load.version < table.load.version)
    earlier = next(loads, None)
    return None if earlier is None else lake.table(table.name, earlier.version)


def _values_before(
    connection: duckdb.DuckDBPyConnection, lake: Lake, before: PublishedTable | None
) -> Mapping[str, int] | None:
    if before is None:
        return None
    kept = read_kept(lake.folder(before.name))
    if kept is not None and kept.report.version == before.version:
        return kept.values
    if all(Path(file).exists() for file in before.files):
        return count_values(connection, before)
    return None


def _changes(table: PublishedTable, before: PublishedTable | None) -> tuple[ShapeChange, ...]:
    if before is None or before.shape.schema_version == table.shape.schema_version:
        return ()
    return changes_between(before.shape.in_parts(), table.shape.in_parts())


def _versions(lake: Lake, name: TableName) -> dict[str, int | None]:
    """Tell the versions of the tables that a table may refer to, without opening them."""
    names = {target.table for targets in targets_of(name).values() for target in targets} - {name}
    return {str(other): _newest(lake.folder(other) / LOG_FOLDER) for other in sorted(names)}


def _newest(log: Path) -> int | None:
    stems = (file.stem for file in log.glob("*.json"))
    return max((int(stem) for stem in stems if stem.isdigit()), default=None)
