"""Reads a version of a table once, and tells what the checks need to know of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import duckdb

from dap_pipeline.lake.coltypes import Kind
from dap_pipeline.lake.columns import Column, TableShape
from dap_pipeline.lake.dialect import OVERSIZED_MARKERS
from dap_pipeline.lake.duck import fetch
from dap_pipeline.lake.keys_once import RepeatedKeys, overlapping, repeated_keys
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.sql import identifier, literal, literals

UNSPECIFIED = "__dap_unspecified__"
"""What DAP puts in place of a member of an enumeration that its schema does not list."""

_EXAMPLES = 5
_LONGEST_EXAMPLE = 40


@dataclass(frozen=True)
class Unknown:
    """Values of an enumeration that the schema does not list."""

    rows: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class TableFacts:
    """What one reading of a table's files told."""

    rows: int = 0
    values: dict[str, int] = field(default_factory=dict)
    """Cells with a value, by column; of a struct 1 if there is any."""
    repeated: RepeatedKeys = field(default_factory=RepeatedKeys)
    unknown: dict[str, Unknown] = field(default_factory=dict)
    oversized: dict[str, int] = field(default_factory=dict)
    """Cells with a marker in place of a text that was too long, where there are any."""
    unspecified: dict[str, int] = field(default_factory=dict)


def read_facts(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> TableFacts:
    """Read what the checks need: the footers, then the columns that must be looked into."""
    if not table.rows:
        return TableFacts()
    source = scan(table)
    counts = _scan(connection, source, table.shape)
    return TableFacts(
        rows=table.rows,
        values=count_values(connection, table),
        repeated=repeated_keys(connection, _groups(table), table.shape),
        unknown={
            c.name: _unknown(connection, source, c, counts["unknown", c.name])
            for c in _enumerations(table.shape)
            if counts["unknown", c.name]
        },
        oversized=_found(counts, "oversized"),
        unspecified=_found(counts, "unspecified"),
    )


def _groups(table: PublishedTable) -> Iterable[Sequence[str]]:
    return overlapping(table.base, table.shape.key[0]) if table.base else [table.files]


def scan(table: PublishedTable) -> str:
    """Write the table as DuckDB reads it; a column that a file lacks is NULL there."""
    return (
        f"read_parquet({literals(list(table.files))},"
        " union_by_name = true, hive_partitioning = false)"
    )


def count_values(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> dict[str, int]:
    """Count the cells that are not NULL, by the footers alone; of a struct, 1 if there is any.

    Of a list, cells without elements count as cells without a value.
    """
    if not table.files:
        return {}
    rows = fetch(
        connection,
        "SELECT path_in_schema, sum(num_values - coalesce(stats_null_count, 0))::BIGINT"
        f" FROM parquet_metadata({literals(list(table.files))}) GROUP BY path_in_schema",
    )
    values = dict.fromkeys((column.name for column in table.shape.columns), 0)
    leaves = {name: count or 0 for name, count in rows}
    for name in values:
        inner = [count for leaf, count in leaves.items() if leaf.startswith(f"{name}, ")]
        values[name] = leaves.get(name, min(1, sum(inner)))
    return values


def _enumerations(shape: TableShape) -> Iterator[Column]:
    for column in shape.columns:
        if column.members and column.masked is None and column.kind in (Kind.ENUM, Kind.INTEGER):
            yield column


def _texts(shape: TableShape) -> Iterator[Column]:
    for column in shape.columns:
        if column.kind in (Kind.TEXT, Kind.ENUM) and column.masked is None:
            yield column


def _scan(
    connection: duckdb.DuckDBPyConnection, source: str, shape: TableShape
) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], str] = {}
    for column in _enumerations(shape):
        counts["unknown", column.name] = _is_unknown(column)
    for column in _texts(shape):
        if column.kind is Kind.TEXT:
            markers = ", ".join(map(literal, OVERSIZED_MARKERS))
            counts["oversized", column.name] = f"{identifier(column.name)} IN ({markers})"
        counts["unspecified", column.name] = f"{identifier(column.name)} = {literal(UNSPECIFIED)}"
    if not counts:
        return {}
    wanted = ", ".join(f"count(*) FILTER ({condition})" for condition in counts.values())
    row = fetch(connection, f"SELECT {wanted} FROM {source}")[0]
    return dict(zip(counts, row, strict=True))


def _is_unknown(column: Column) -> str:
    permitted: Sequence[str] = [
        literal(member) if isinstance(member, str) else str(int(member))
        for member in column.members
    ]
    if column.kind is Kind.ENUM:
        permitted = [*permitted, literal(UNSPECIFIED)]
    return f"{identifier(column.name)} NOT IN ({', '.join(permitted)})"


def _unknown(
    connection: duckdb.DuckDBPyConnection, source: str, column: Column, rows: int
) -> Unknown:
    name = f"left({identifier(column.name)}::VARCHAR, {_LONGEST_EXAMPLE})"
    found = fetch(
        connection,
        f"SELECT DISTINCT {name} AS example FROM {source} WHERE {_is_unknown(column)}"
        f" ORDER BY example LIMIT {_EXAMPLES}",
    )
    return Unknown(rows, tuple(row[0] for row in found))


def _found(counts: dict[tuple[str, str], int], what: str) -> dict[str, int]:
    return {column: count for (kind, column), count in counts.items() if kind == what and count}
