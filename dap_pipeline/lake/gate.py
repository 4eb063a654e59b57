"""Refuses what must not be published: the last look at a load before its commit.

How a load uses it, in this order::

    changes = check_contract(name, before and before.shape, shape, rules.contracts)   # early
    …download, rewrite, merge…
    check_before_commit(name, files, shape, kind=…, rows=…, before=…, rules=rules, options=…)
    lake.publish(…)

``files`` are the new ones: all files of a snapshot, the added ones of an increment (whose merge
keeps each key once). ``rows`` are those of the whole table after the load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import duckdb

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import BrokenKeyError, LakeError, RowCountError
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.contract import Contracts, check_contract
from dap_pipeline.lake.duck import RewriteOptions, connect, not_of_the_data
from dap_pipeline.lake.folders import storage_errors
from dap_pipeline.lake.keys_once import cells_without_value, overlapping, repeated_keys
from dap_pipeline.lake.places import Places
from dap_pipeline.lake.records import LoadKind, PublishedTable
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.settings import Settings

__all__ = ["GateRules", "check_before_commit", "check_contract"]


@dataclass(frozen=True)
class GateRules:
    """What a school wants refused."""

    contracts: Contracts = field(default_factory=Contracts)
    row_change_fail: float | None = None
    """Share by which a snapshot's rows may differ from the published ones; None permits any."""
    may_be_empty: Places = field(default_factory=Places)
    """Tables that may lose all their rows by a snapshot."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the rules.

        Raises:
            ConfigurationError: one cannot be read.
        """
        return cls(
            contracts=Contracts.parse(settings.contract),
            row_change_fail=settings.row_change_fail or None,
            may_be_empty=Places.parse(settings.may_be_empty, "DAP_PIPELINE_MAY_BE_EMPTY"),
        )


def check_before_commit(
    name: TableName,
    files: Sequence[WrittenFile],
    shape: TableShape,
    *,
    kind: LoadKind,
    rows: int,
    before: PublishedTable | None,
    rules: GateRules,
    options: RewriteOptions,
) -> None:
    """Refuse a load whose keys are broken or whose snapshot has an unlikely number of rows.

    Raises:
        BrokenKeyError: a key occurs twice or is not there.
        RowCountError: rows are gone, or more changed than the rules permit.
        StorageError: the disk is full.
        LakeError: the memory does not suffice.
    """
    if kind is LoadKind.SNAPSHOT and before is not None:
        _check_rows(name, before.rows, rows, rules)
    _check_keys(name, files, shape, options)


def _check_rows(name: TableName, before: int, after: int, rules: GateRules) -> None:
    if before and not after and not rules.may_be_empty.have(name):
        raise RowCountError(f"the snapshot has no rows, and {before:,} are published").at(
            name.namespace, name.table
        )
    limit = rules.row_change_fail
    if limit is not None and before and abs(after - before) > limit * before:
        raise RowCountError(
            f"the snapshot has {after:,} rows, and {before:,} are published: more than"
            f" {limit:.0%} changed"
        ).at(name.namespace, name.table)


def _check_keys(
    name: TableName, files: Sequence[WrittenFile], shape: TableShape, options: RewriteOptions
) -> None:
    files = [file for file in files if file.rows]
    if not files:
        return
    try:
        with storage_errors("check the keys"), connect(options) as connection:
            without = cells_without_value(connection, [str(f.path) for f in files], shape.key)
            found = repeated_keys(connection, overlapping(files, shape.key[0]), shape)
    except duckdb.Error as error:
        known = not_of_the_data(error, "check the keys")
        raise known or LakeError(f"the keys cannot be checked ({type(error).__name__})") from None
    for column, count in without.items():
        if count:
            words = f"the key column {column} has no value in {count:,} rows"
            raise BrokenKeyError(words).at(name.namespace, name.table)
    if found:
        raise BrokenKeyError(
            f"{found.count:,} keys occur more than once, such as {' and '.join(found.examples)}"
        ).at(name.namespace, name.table)
