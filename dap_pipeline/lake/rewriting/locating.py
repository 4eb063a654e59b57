"""Finds the row and column of a value that does not fit, after DuckDB has refused the parts.

The casts are run once more over each part, one thread in the order of the rows, in a form that
tells of a misfit instead of failing.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.coltypes import ColumnType, Kind
from dap_pipeline.lake.columns import META_ACTION, Column, Section, TableShape
from dap_pipeline.lake.duck import fetch
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.casting import (
    Caster,
    as_parsed,
    as_text,
    elements_of,
    member_of,
    not_object,
)
from dap_pipeline.lake.rewriting.parts import Parts, misfit
from dap_pipeline.lake.rewriting.physical import PARSED_JSON, Found

# A column, the condition that a row is wrong in it, and what is wrong then.
Suspect = tuple[Column, str, str]


def locate(
    connection: duckdb.DuckDBPyConnection, groups: list[Parts], shape: TableShape, kind: LoadKind
) -> MisfitError | None:
    """Find the first misfit of the parts; None if there is none to be found."""
    connection.execute("SET threads = 1")
    connection.execute("SET preserve_insertion_order = true")
    for group in groups:
        for part in group.paths:
            error = _locate_in(connection, part, group, shape, kind)
            if error is not None:
                return error
    return None


def _locate_in(
    connection: duckdb.DuckDBPyConnection,
    part: Path,
    group: Parts,
    shape: TableShape,
    kind: LoadKind,
) -> MisfitError | None:
    suspects: list[Suspect] = []
    for column in (c for c in shape.columns if c.name in group.found):
        condition = _misfit(group.found[column.name], column.type)
        suspects.append((column, condition, f"does not fit {column.duckdb_type}"))
        if column.required:
            suspects.append((column, _lacking(column, group, kind), "is required and not there"))
    rows = ", ".join(f"min(CASE WHEN {condition} THEN n END)" for _, condition, _ in suspects)
    numbered = f"SELECT *, row_number() OVER () AS n FROM {group.relation([part])}"
    try:
        first = fetch(connection, f"SELECT {rows} FROM ({numbered})")[0]
    except duckdb.Error:
        return _without_row(connection, part, group, suspects)
    found = [(row, suspect) for row, suspect in zip(first, suspects, strict=True) if row]
    if not found:
        return None
    row, (column, _, what) = min(found, key=lambda pair: pair[0])
    return misfit(part, column, what, row)


def _without_row(
    connection: duckdb.DuckDBPyConnection, part: Path, group: Parts, suspects: list[Suspect]
) -> MisfitError:
    """Name at least the column, where the look at all of them at once fails."""
    for column, condition, _ in suspects:
        try:
            fetch(connection, f"SELECT count(*) FROM {group.relation([part])} WHERE {condition}")
        except duckdb.Error:
            return misfit(part, column, "holds a value that cannot be read")
    return MisfitError(f"{part.name} cannot be read to its end")


def _lacking(column: Column, group: Parts, kind: LoadKind) -> str:
    found = group.found[column.name]
    lacking = f"{as_text(found) if found.type == PARSED_JSON else found.sql} IS NULL"
    action = group.found.get(META_ACTION.name)
    if kind is LoadKind.INCREMENTAL and column.section is Section.VALUE and action is not None:
        return f"({lacking} AND {as_text(action)} <> 'D')"
    return lacking


def _misfit(found: Found, target: ColumnType, depth: int = 0) -> str:
    """Write the condition that a value is there and cannot be cast."""
    if target.kind is Kind.STRUCT:
        checked = as_parsed(found)
        inner = [
            _misfit(member, m.type, depth)
            for m in target.members
            if (member := member_of(checked, m)) is not None
        ]
        strange = [not_object(checked.sql, target)] if checked.type == PARSED_JSON else []
        return "coalesce(" + " OR ".join([*strange, *inner, "false"]) + ", false)"
    if target.item is not None:
        return _misfit_in_list(found, target.item, depth)
    there = as_text(found)
    return f"({there} IS NOT NULL AND {Caster(lenient=True).cast(found, target)} IS NULL)"


def _misfit_in_list(found: Found, item: ColumnType, depth: int) -> str:
    elements, element = elements_of(found, depth)
    each = f"lambda {element.sql}: {_misfit(element, item, depth + 1)}"
    inside = f"coalesce(list_bool_or(list_transform({elements.sql}, {each})), false)"
    if found.type.name == "LIST":
        return inside
    parsed = as_parsed(found).sql
    return (
        f"CASE coalesce(json_type({parsed}), 'NULL') WHEN 'NULL' THEN false"
        f" WHEN 'ARRAY' THEN {inside} ELSE true END"
    )
