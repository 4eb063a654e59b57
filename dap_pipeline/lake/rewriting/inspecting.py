"""Reads JSONL line by line to find the first that is wrong: exact, and far slower than DuckDB."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.coltypes import ColumnType, Kind, Member
from dap_pipeline.lake.columns import Section, TableShape
from dap_pipeline.lake.rewriting.parts import misfit

LONGEST_LINE = 32 << 20
"""Bytes of a line that DuckDB can read here; each of its threads holds a buffer of that size."""


class _TwiceError(ValueError):
    pass


def inspect_lines(part: Path, shape: TableShape) -> None:
    """Check that each line is a JSON object with no other properties than the shape has.

    Raises:
        MisfitError: a line is not; it names the line.
    """
    kind = _record_type(shape)
    for number, record in records(part):
        fault = _fault(record, kind, ())
        if fault is not None:
            place, what = fault
            raise misfit(part, ".".join(place), what, number)


def _record_type(shape: TableShape) -> ColumnType:
    sections = []
    for section in Section:
        fields = [c for c in shape.columns if c.section is section]
        members = tuple(Member(column.source, column.type) for column in fields)
        sections.append(Member(section.value, ColumnType(Kind.STRUCT, members=members)))
    return ColumnType(Kind.STRUCT, members=tuple(sections))


def _fault(
    value: Any, kind: ColumnType, place: tuple[str, ...]
) -> tuple[tuple[str, ...], str] | None:
    """Find an object or list that is none, or has a property that the schema lacks."""
    if value is None:
        return None
    faults: Iterator[tuple[tuple[str, ...], str] | None] = iter(())
    if kind.kind is Kind.STRUCT:
        if not isinstance(value, dict):
            return place, "is not an object"
        members = {member.name: member.type for member in kind.members}
        unknown = value.keys() - members
        if unknown:
            return (*place, min(unknown)), "is not in the table's schema"
        faults = (_fault(inner, members[name], (*place, name)) for name, inner in value.items())
    elif kind.item is not None:
        if not isinstance(value, list):
            return place, "is not a list"
        item = kind.item
        faults = (_fault(inner, item, place) for inner in value)
    return next((fault for fault in faults if fault is not None), None)


def records(
    part: Path, parse_float: Callable[[str], Any] = float
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the lines as objects, with their numbers; empty lines are left out.

    Raises:
        MisfitError: a line is not a JSON object, or the part is not whole.
    """
    for number, line in _lines(part):
        yield number, _record(part, number, line, parse_float)


def _record(
    part: Path, number: int, line: bytes, parse_float: Callable[[str], Any]
) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise misfit(part, "the line", f"is longer than {LONGEST_LINE} bytes", number)
    try:
        record = json.loads(line, object_pairs_hook=_unique, parse_float=parse_float)
        json.dumps(record, ensure_ascii=False).encode()
    except _TwiceError:
        raise misfit(part, "the line", "names a property twice", number) from None
    except UnicodeError:
        raise misfit(part, "the line", "is not valid Unicode", number) from None
    except (ValueError, RecursionError):
        raise misfit(part, "the line", "is not JSON", number) from None
    if not isinstance(record, dict):
        raise misfit(part, "the line", "is not a JSON object", number)
    return record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError
    return found


def _lines(part: Path) -> Iterator[tuple[int, bytes]]:
    zipped = part.name.endswith(".gz")
    try:
        with gzip.open(part, "rb") if zipped else part.open("rb") as file:
            number = 0
            # One byte more than allowed is enough to see that a line is too long.
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if line.strip() or len(line) > LONGEST_LINE:
                    yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise MisfitError(f"{part.name} is not a whole gzip file") from None
