"""Keeps the digits of wide decimals in JSONL, where DuckDB would read them as doubles.

A double holds any 15 digits. A table with wider decimals is read by Python first, which writes the
parts unpacked with those numbers as texts. No table of DAP is known to need it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dap_pipeline.lake.coltypes import ColumnType, Kind
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.rewriting.inspecting import records

_DIGITS_OF_A_DOUBLE = 15


class _Number(str):
    """A number with a point or exponent, as it is written."""

    __slots__ = ()


def has_wide_decimals(shape: TableShape) -> bool:
    """Tell whether a column can hold numbers that a double cannot."""
    return any(_is_wide(column.type) for column in shape.columns)


def with_exact_numbers(parts: Sequence[Path], shape: TableShape, folder: Path) -> list[Path]:
    """Unpack the parts into the folder, with all numbers as texts but those in JSON columns.

    Raises:
        MisfitError: a line is not a JSON object.
    """
    types = {(column.section.value, column.source): column.type for column in shape.columns}
    copies = []
    for index, part in enumerate(parts):
        # The copy has the name of the part, which errors tell.
        copy = folder / str(index) / part.name
        copy.parent.mkdir(mode=0o700)
        with copy.open("w", encoding="utf-8") as file:
            for _, record in records(part, parse_float=_Number):
                plain = {name: _section(name, fields, types) for name, fields in record.items()}
                file.write(json.dumps(plain, ensure_ascii=False) + "\n")
        copies.append(copy)
    return copies


def _section(name: str, fields: Any, types: dict[tuple[str, str], ColumnType]) -> Any:
    if not isinstance(fields, dict):
        return fields
    return {
        field: _plain(value, types.get((name, field), ColumnType(Kind.TEXT)))
        for field, value in fields.items()
    }


def _plain(value: Any, kind: ColumnType) -> Any:
    if kind.kind is Kind.JSON:
        return _with_floats(value)
    if isinstance(value, dict) and kind.kind is Kind.STRUCT:
        members = {member.name: member.type for member in kind.members}
        return {
            name: _plain(inner, members.get(name, ColumnType(Kind.TEXT)))
            for name, inner in value.items()
        }
    if isinstance(value, list) and kind.item is not None:
        return [_plain(inner, kind.item) for inner in value]
    return value


def _with_floats(value: Any) -> Any:
    if isinstance(value, _Number):
        return float(value)
    if isinstance(value, dict):
        return {name: _with_floats(inner) for name, inner in value.items()}
    return [_with_floats(inner) for inner in value] if isinstance(value, list) else value


def _is_wide(kind: ColumnType) -> bool:
    if kind.item is not None:
        return _is_wide(kind.item)
    if kind.members:
        return any(_is_wide(member.type) for member in kind.members)
    return kind.kind is Kind.DECIMAL and kind.scale > 0 and kind.precision > _DIGITS_OF_A_DOUBLE
