"""Reads JSONL: one object ``{"key": …, "value": …, "meta": …}`` a line, nulls left out.

Every scalar is read as a text: a typed read would round or misread what casting refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dap_pipeline.lake.coltypes import ColumnType, Kind
from dap_pipeline.lake.columns import Column, Section, TableShape
from dap_pipeline.lake.rewriting.inspecting import LONGEST_LINE
from dap_pipeline.lake.rewriting.parts import Parts
from dap_pipeline.lake.rewriting.physical import (
    PARSED_JSON,
    VARCHAR,
    Found,
    Physical,
    PhysicalMember,
    pointer,
)
from dap_pipeline.lake.rewriting.unpacking import Texts
from dap_pipeline.lake.sql import identifier, literal, literals

# DuckDB's threads share the text in pieces of twice this size; with large ones some have none left.
_USUAL_LINE = 4 << 20


def jsonl_parts(texts: Texts, shape: TableShape) -> list[Parts]:
    """Tell where the columns of the table stand in the unpacked parts."""
    sections = {
        section: [column for column in shape.columns if column.section is section]
        for section in Section
    }
    types = {section: _read_type_of(fields) for section, fields in sections.items() if fields}
    columns = ", ".join(f"{literal(s.value)}: {literal(t.sql)}" for s, t in types.items())

    def relation(some: Sequence[Path]) -> str:
        return f"read_json({_files(some)}, columns = {{{columns}}}, {_options(texts)})"

    found = {column.name: _found(column, types[column.section]) for column in shape.columns}
    return [Parts(texts.paths, relation, found)] if texts.paths else []


def lines_of(texts: Texts) -> str:
    """Write the relation that has each line of the unpacked parts as ``json``.

    They are split as CSV of one column, which looks for line ends only: DuckDB's JSON reader would
    parse each line to find its end, and whoever looks into it parses it again.
    """
    lines = (
        f"read_csv({_files(texts.paths)}, columns = {{'json': 'VARCHAR'}}, auto_detect = false,"
        " header = false, delim = '\x1f', quote = '', escape = '', strict_mode = false,"
        " compression = 'none', hive_partitioning = false,"
        f" max_line_size = {_most(texts)}, buffer_size = {max(_most(texts), 2 * _USUAL_LINE)})"
    )
    # Of an OR, DuckDB works out both sides for each line.
    blank = "trim(json, E' \\t\\r') = ''"
    return f"(FROM {lines} WHERE CASE WHEN starts_with(json, '{{') THEN true ELSE NOT {blank} END)"


def _options(texts: Texts) -> str:
    # A line may be as long as a piece.
    return (
        "format = 'newline_delimited', compression = 'uncompressed', hive_partitioning = false,"
        f" maximum_object_size = {min(_most(texts), LONGEST_LINE // 2)}"
    )


def _most(texts: Texts) -> int:
    return min(max(texts.longest, _USUAL_LINE), LONGEST_LINE)


def _files(paths: Sequence[Path]) -> str:
    return literals([str(path) for path in paths])


def _read_type_of(fields: list[Column]) -> Physical:
    # DuckDB takes `Name` and `name` for one: a section with both is taken apart as JSON.
    if len({column.source.casefold() for column in fields}) < len(fields):
        return PARSED_JSON
    members = (PhysicalMember(c.source, c.source, _read_type(c.type)) for c in fields)
    return Physical("STRUCT", tuple(members))


def _read_type(kind: ColumnType) -> Physical:
    if kind.kind is Kind.STRUCT:
        members = (PhysicalMember(m.name, m.name, _read_type(m.type)) for m in kind.members)
        return Physical("STRUCT", tuple(members))
    if kind.item is None:
        return VARCHAR
    # The properties inside of lists are not counted, so they are compared one by one.
    item = _read_type(kind.item)
    return PARSED_JSON if item.name in ("STRUCT", "JSON") else Physical("LIST", item=item)


def _found(column: Column, section: Physical) -> Found:
    sql = identifier(column.section.value)
    member = section.member(column.source)
    if member is None:
        return Found(f"json_extract({sql}, {literal(pointer(column.source))})", PARSED_JSON)
    return Found(member.of(sql), member.type)
