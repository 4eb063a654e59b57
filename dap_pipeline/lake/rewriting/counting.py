"""Counts the properties in JSONL, so that none is passed over.

DuckDB's JSON reader passes over properties that it was not told of. So the properties of all lines
are counted in a second, lighter pass: when they are as many as the cells that were written, none
was passed over. (``json_transform_strict`` is no way out: it fails on every property that is
missing, and DAP leaves out those that are null.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from dap_pipeline.lake.coltypes import ColumnType, Kind, Member
from dap_pipeline.lake.columns import Mask, Section, TableShape
from dap_pipeline.lake.duck import fetch
from dap_pipeline.lake.rewriting.physical import pointer
from dap_pipeline.lake.sql import identifier, literal, literals


@dataclass(frozen=True)
class Tally:
    """What the lines of the parts hold in all."""

    rows: int
    cells: int
    """Properties of the sections and nested objects; cells of the table where not null."""
    strange: int
    """Lines with a property beside the three sections."""


@dataclass(frozen=True)
class _Level:
    """An object that every line can have: where it is, and the properties that it may have."""

    pointer: str
    known: list[str]
    unpublished: tuple[str, ...] = ()
    """Properties that no cell of the table is made of."""


def tally(connection: duckdb.DuckDBPyConnection, lines: str, shape: TableShape) -> Tally:
    """Count lines and properties of a relation that has each line as ``json``.

    The inside of lists is left out: it is compared with the shape when it is cast.
    """
    levels = list(_levels(shape))
    pointers = literals(["$", *(level.pointer for level in levels)])
    cells = " + ".join(
        f"coalesce({_published(f'k[{place}]', level)}, 0)" for place, level in enumerate(levels, 2)
    )
    sections = " + ".join(
        f"CAST(k[{place + 2}] IS NOT NULL AS INTEGER)" for place in range(len(Section))
    )
    query = (
        f"SELECT count(*), coalesce(sum({cells}), 0), count(*) FILTER (len(k[1]) <> {sections})"
        f" FROM (SELECT json_keys(json, {pointers}) AS k FROM {lines})"
    )
    rows, properties, strange = fetch(connection, query)[0]
    return Tally(rows, int(properties), strange)


def has_unknown_properties(
    connection: duckdb.DuckDBPyConnection, lines: str, shape: TableShape
) -> bool:
    """Compare the name of each property with the shape: exact, and slower than counting."""
    levels = [_Level("$", [section.value for section in Section]), *_levels(shape)]
    checks = []
    for level in levels:
        keys = f"json_keys(json, {literal(level.pointer)})"
        known = f"list_has_all(CAST({literals(level.known)} AS VARCHAR[]), {keys})"
        checks.append(f"coalesce({known} AND len(list_distinct({keys})) = len({keys}), true)")
    query = f"SELECT count(*) FROM {lines} WHERE NOT ({' AND '.join(checks)})"
    return bool(fetch(connection, query)[0][0])


def nested_cells(shape: TableShape) -> list[str]:
    """Write the SQL that counts the cells that are not null in structs and lists."""
    return [
        f"count({cell})"
        for column in shape.columns
        if column.kind in (Kind.STRUCT, Kind.LIST)
        for cell in _cells(identifier(column.name), column.type)
    ]


def _cells(sql: str, kind: ColumnType) -> Iterator[str]:
    yield sql
    for member in kind.members:
        yield from _cells(f"struct_extract({sql}, {literal(member.name)})", member.type)


def _published(keys: str, level: _Level) -> str:
    """Write the SQL that counts the properties of a level that become cells."""
    less = (f" - CAST(list_contains({keys}, {literal(n)}) AS BIGINT)" for n in level.unpublished)
    return f"len({keys}){''.join(less)}"


def _levels(shape: TableShape) -> Iterator[_Level]:
    for section in Section:
        fields = [column for column in shape.columns if column.section is section]
        dropped = [column for column in shape.dropped if column.section is section]
        nulled = [column for column in fields if column.masked is Mask.NULL]
        unpublished = tuple(column.source for column in (*dropped, *nulled))
        yield _Level(f"/{section}", [c.source for c in (*fields, *dropped)], unpublished)
    for column in shape.columns:
        if column.masked is None:
            at = f"/{column.section}{pointer(column.source)}"
            yield from _inner_levels(at, column.type.members)


def _inner_levels(at: str, members: tuple[Member, ...]) -> Iterator[_Level]:
    if members:
        yield _Level(at, [member.name for member in members])
    for member in members:
        yield from _inner_levels(at + pointer(member.name), member.type.members)
