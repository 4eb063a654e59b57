"""Finds broken keys in the files of a table: repeated ones, and such without a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from dap_pipeline.lake.coltypes import Kind
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.duck import fetch
from dap_pipeline.lake.merging.layout import BaseFile
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.sql import identifier, literal, literals

_EXAMPLES = 3


@dataclass(frozen=True)
class RepeatedKeys:
    """How many keys occur more than once, and some of them."""

    count: int = 0
    examples: tuple[str, ...] = ()
    """As ``17`` or ``(17, 3)``."""

    def __bool__(self) -> bool:
        return self.count > 0


def repeated_keys(
    connection: duckdb.DuckDBPyConnection, groups: Iterable[Sequence[str]], shape: TableShape
) -> RepeatedKeys:
    """Look for keys that occur more than once over the files of a group.

    What does not fit in the connection's memory is spilled; small groups keep it small.
    """
    count = 0
    examples: list[str] = []
    for files in groups:
        found = _repeated(connection, files, shape)
        count += found.count
        examples += found.examples
    return RepeatedKeys(count, tuple(examples[:_EXAMPLES]))


def cells_without_value(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], columns: Sequence[str]
) -> dict[str, int]:
    """Count the cells that are NULL in columns that are neither structs nor lists.

    By the footers alone: no data is read.
    """
    wanted = ", ".join(map(literal, columns))
    rows = fetch(
        connection,
        f"SELECT path_in_schema, sum(stats_null_count)::BIGINT"
        f" FROM parquet_metadata({literals(list(files))})"
        f" WHERE path_in_schema IN ({wanted}) GROUP BY path_in_schema",
    )
    return {name: count or 0 for name, count in rows}


def overlapping(files: Sequence[WrittenFile | BaseFile], column: str) -> Iterator[list[str]]:
    """Group files so that the values of a column in one group occur in no other."""
    filled = [file for file in files if file.rows]
    if any(column not in file.key_min or column not in file.key_max for file in filled):
        yield [str(file.path) for file in filled]
        return
    # One column holds numbers or texts, never both.
    bounds: list[tuple[Any, Any, str]]
    bounds = [(file.key_min[column], file.key_max[column], str(file.path)) for file in filled]
    group: list[str] = []
    end: Any = None
    for low, high, path in sorted(bounds):
        if group and low > end:
            yield group
            group = []
        end = max(end, high) if group else high
        group.append(path)
    if group:
        yield group


def _repeated(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], shape: TableShape
) -> RepeatedKeys:
    names = ", ".join(map(identifier, shape.key))
    texts = ", ".join(f"{identifier(name)}::VARCHAR" for name in shape.key)
    source = f"read_parquet({literals(list(files))}, hive_partitioning = false)"
    # Hashes first, since long keys take many times the memory; two keys may share a hash.
    is_number = len(shape.key) == 1 and shape.column(shape.key[0]).kind is Kind.INTEGER
    mark = names if is_number else f"hash({names})"
    marks = f"SELECT {mark} AS mark FROM {source} GROUP BY mark HAVING count(*) > 1"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE suspects AS {marks}")
    if not fetch(connection, "SELECT count(*) FROM suspects")[0][0]:
        return RepeatedKeys()
    rows = fetch(
        connection,
        f"SELECT count(*) OVER (), {texts} FROM {source}"
        f" WHERE {mark} IN (SELECT mark FROM suspects)"
        f" GROUP BY {names} HAVING count(*) > 1 ORDER BY {names} LIMIT {_EXAMPLES}",
    )
    return RepeatedKeys(rows[0][0] if rows else 0, tuple(_key_text(row[1:]) for row in rows))


def _key_text(values: Sequence[str | None]) -> str:
    texts = ["NULL" if value is None else value for value in values]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
