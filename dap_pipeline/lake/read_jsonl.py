"""Reads JSONL parts: one object ``{"key": …, "value": …, "meta": …}`` a line, nulls left out.

DuckDB's JSON reader passes over properties that it was not told of. So the properties of all lines
are counted in a second, lighter pass: when they are as many as the cells that were written, none
was passed over. (``json_transform_strict`` is no way out: it fails on every property that is
missing, and DAP leaves out those that are null.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dap_pipeline.lake.coltypes import Kind
from dap_pipeline.lake.columns import Column, Section, TableShape
from dap_pipeline.lake.duck import fetch
from dap_pipeline.lake.inspecting import LONGEST_LINE
from dap_pipeline.lake.parts import Parts
from dap_pipeline.lake.physical import PARSED_JSON, VARCHAR, Found, Physical
from dap_pipeline.lake.sql import identifier, literal, literals

_OPTIONS = (
    "format = 'newline_delimited', compression = 'auto_detect', hive_partitioning = false,"
    f" maximum_object_size = {LONGEST_LINE // 2}"
)


def jsonl_parts(paths: Sequence[Path], shape: TableShape) -> list[Parts]:
    """Tell where the columns of the table stand in the parts."""
    sections = {section: _fields(section, shape) for section in Section}
    parsed = {section for section, fields in sections.items() if not _can_be_struct(fields)}
    types = {
        section: "JSON" if section in parsed else _struct(fields)
        for section, fields in sections.items()
        if fields
    }
    columns = ", ".join(f"{literal(s.value)}: {literal(t)}" for s, t in types.items())

    def relation(some: Sequence[Path]) -> str:
        return f"read_json({_files(some)}, columns = {{{columns}}}, {_OPTIONS})"

    found = {
        column.name: _found(column, column.section in parsed)
        for fields in sections.values()
        for column in fields
    }
    return [Parts(tuple(paths), relation, found)] if paths else []


@dataclass(frozen=True)
class Tally:
    """What the lines of the parts hold in all."""

    rows: int
    cells: int
    """Properties of the sections, which are cells of the table when they are not null."""
    strange: int
    """Lines with a property beside the three sections."""


def tally(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> Tally:
    """Count lines and properties."""
    looked_at = literals(["$", *(f"$.{section}" for section in Section)])
    cells = " + ".join(f"coalesce(len(k[{place}]), 0)" for place in (2, 3, 4))
    sections = " + ".join(f"CAST(k[{place}] IS NOT NULL AS INTEGER)" for place in (2, 3, 4))
    query = (
        f"SELECT count(*), coalesce(sum({cells}), 0), count(*) FILTER (len(k[1]) <> {sections})"
        f" FROM (SELECT json_keys(json, {looked_at}) AS k FROM {_objects(paths)})"
    )
    rows, cells, strange = fetch(connection, query)[0]
    return Tally(rows, int(cells), strange)


def has_unknown_properties(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[Path], shape: TableShape
) -> bool:
    """Compare the name of each property with the shape: exact, and slower than counting."""
    checks = ["list_has_all(['key', 'value', 'meta'], json_keys(json))"]
    for section in Section:
        known = literals([column.source for column in _fields(section, shape)])
        keys = f"json_keys(json, '$.{section}')"
        checks.append(
            f"coalesce(list_has_all({known}, {keys})"
            f" AND len(list_distinct({keys})) = len({keys}), true)"
        )
    query = f"SELECT count(*) FROM {_objects(paths)} WHERE NOT ({' AND '.join(checks)})"
    return bool(fetch(connection, query)[0][0])


def _files(paths: Sequence[Path]) -> str:
    return literals([str(path) for path in paths])


def _objects(paths: Sequence[Path]) -> str:
    return f"read_json_objects({_files(paths)}, {_OPTIONS})"


def _fields(section: Section, shape: TableShape) -> list[Column]:
    return [column for column in shape.columns if column.section is section]


def _can_be_struct(fields: list[Column]) -> bool:
    """Tell whether DuckDB can tell the names apart: it takes ``Name`` and ``name`` for one."""
    return len({column.source.casefold() for column in fields}) == len(fields)


def _struct(fields: list[Column]) -> str:
    # Texts keep what a typed read would round or misread; see casting.
    inner = (f"{identifier(c.source)} {_physical(c).name}" for c in fields)
    return f"STRUCT({', '.join(inner)})"


def _physical(column: Column) -> Physical:
    return PARSED_JSON if column.kind in (Kind.STRUCT, Kind.LIST) else VARCHAR


def _found(column: Column, in_parsed: bool) -> Found:
    section = identifier(column.section.value)
    if not in_parsed:
        member = f"struct_extract({section}, {literal(column.source)})"
        return Found(member, _physical(column))
    pointer = literal("/" + column.source.replace("~", "~0").replace("/", "~1"))
    return Found(f"json_extract({section}, {pointer})", PARSED_JSON)
