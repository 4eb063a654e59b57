"""Reads JSONL line by line to find the first that is wrong: exact, and far slower than DuckDB."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.columns import Section, TableShape
from dap_pipeline.lake.parts import misfit

LONGEST_LINE = 32 << 20
"""Bytes of a line that DuckDB can read here; each of its threads holds a buffer of that size."""


class _TwiceError(ValueError):
    pass


def inspect_lines(part: Path, shape: TableShape) -> None:
    """Check that each line is a JSON object with no other properties than the shape has.

    Raises:
        MisfitError: a line is not; it names the line.
    """
    known = {
        section.value: {c.source for c in shape.columns if c.section is section}
        for section in Section
    }
    for number, record in records(part):
        for section, fields in record.items():
            if section not in known:
                raise misfit(part, section, "is not in the table's schema", number)
            if fields is None:
                continue
            if not isinstance(fields, dict):
                raise misfit(part, section, "is not an object", number)
            unknown = fields.keys() - known[section]
            if unknown:
                name = f"{section}.{min(unknown)}"
                raise misfit(part, name, "is not in the table's schema", number)


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
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise MisfitError(f"{part.name} is not a whole gzip file") from None
