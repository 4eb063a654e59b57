"""Looks for rows that refer to rows which are not in the lake.

Only rows are looked at that DAP had committed by the time of the other table's state: a younger
row may refer to one that the other table gets with its next load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import duckdb

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.checking.facts import scan
from dap_pipeline.lake.checking.results import Detail
from dap_pipeline.lake.columns import META_TS, Column
from dap_pipeline.lake.duck import fetch
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.references import Reference
from dap_pipeline.lake.sql import identifier, literal

_EXAMPLES = 3


@dataclass(frozen=True)
class Orphans:
    """What became of the references of a table."""

    broken: tuple[Detail, ...]
    unchecked: tuple[Detail, ...]
    """References that nothing can be said about."""
    checked: int
    """References that were looked at."""
    rows: int
    """Rows that were looked at."""


def find_orphans(
    connection: duckdb.DuckDBPyConnection,
    table: PublishedTable,
    references: Iterable[Reference],
    others: Mapping[TableName, PublishedTable],
    sample: int,
) -> Orphans:
    """Look every reference up in the table that it leads to.

    Args:
        connection: a database that nothing else is done in meanwhile.
        table: the table whose rows refer to others.
        references: its references.
        others: the published tables that they lead to, itself included.
        sample: about how many rows to look at, chosen by their key; 0 means all.
    """
    unchecked = []
    possible = []
    for reference in references:
        reason = _obstacle(table, reference, others)
        if reason:
            unchecked.append(Detail(place=_place(reference), note=reason))
        else:
            possible.append(reference)
    if not possible or not table.rows:
        return Orphans((), tuple(unchecked), len(possible), 0)
    source, rows = _sampled(connection, table, possible, sample)
    found = (_broken(connection, source, r, others[r.target.table]) for r in possible)
    broken = tuple(detail for detail in found if detail is not None)
    return Orphans(broken, tuple(unchecked), len(possible), rows)


def _obstacle(
    table: PublishedTable, reference: Reference, others: Mapping[TableName, PublishedTable]
) -> str:
    other = others.get(reference.target.table)
    if other is None:
        return f"{reference.target.table} is not in the lake"
    target = {c.name: c for c in other.shape.columns}.get(reference.target.column)
    if target is None:
        return f"{reference.target.table} has no column {reference.target.column}"
    if not _comparable(table.shape.column(reference.column), target):
        return f"{target.name} of {other.name} holds other values: masked, or of another type"
    if target.masked is not None and table.shape.mask_key != other.shape.mask_key:
        return f"{other.name} is hashed with another key"
    return ""


def _comparable(column: Column, target: Column) -> bool:
    if column.masked is not target.masked:
        return False
    numbers = {"SMALLINT", "INTEGER", "BIGINT"}
    types = {column.duckdb_type, target.duckdb_type}
    return len(types) == 1 or types <= numbers


def _sampled(
    connection: duckdb.DuckDBPyConnection,
    table: PublishedTable,
    references: Iterable[Reference],
    sample: int,
) -> tuple[str, int]:
    """Put the rows to look at into a table of their own, or give the files where it is all."""
    if not sample or table.rows <= sample:
        return scan(table), table.rows
    names = dict.fromkeys(
        name for r in references for name in (r.column, r.type_column, META_TS.name) if name
    )
    key = ", ".join(map(identifier, table.shape.key))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE chosen AS SELECT {', '.join(map(identifier, names))}"
        f" FROM {scan(table)} WHERE hash({key}) % {-(-table.rows // sample)} = 0"
    )
    return "chosen", fetch(connection, "SELECT count(*) FROM chosen")[0][0]


def _broken(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    reference: Reference,
    other: PublishedTable,
) -> Detail | None:
    column = identifier(reference.column)
    until = literal(other.load.at.isoformat())
    conditions = [f"{column} IS NOT NULL", f"{META_TS.name} <= TIMESTAMPTZ {until}"]
    if reference.type_column:
        members = ", ".join(map(literal, reference.members))
        conditions.append(f"{identifier(reference.type_column)} IN ({members})")
    target = identifier(reference.target.column)
    there = f"SELECT {target} AS id FROM {scan(other)}" if other.rows else "SELECT NULL AS id"
    rows = fetch(
        connection,
        f"WITH wanted AS (SELECT {column} AS id, count(*) AS rows FROM {source}"
        f" WHERE {' AND '.join(conditions)} GROUP BY ALL)"
        f" SELECT sum(rows) OVER (), id::VARCHAR FROM wanted ANTI JOIN ({there}) USING (id)"
        f" ORDER BY rows DESC, wanted.id LIMIT {_EXAMPLES}",
    )
    if not rows:
        return None
    return Detail(
        place=_place(reference),
        note=f"rows refer to no row of {other.name}",
        count=int(rows[0][0]),
        examples=tuple(row[1] for row in rows),
    )


def _place(reference: Reference) -> str:
    if not reference.type_column:
        return reference.column
    return f"{reference.column} ({reference.type_column} {' or '.join(reference.members)})"
