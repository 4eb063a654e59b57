"""Adds loads to a table that only grows: logs, of which DAP keeps some weeks and the lake all.

Rows are kept apart by the UTC day of one column: a file holds rows of one day. Repeated keys, which
such a table has since its source delivers at least once, become one row. A record's day hardly
changes, so its key is looked for in the files of that day and of the two beside it; that of a
deletion, which has no day, in all. So what a load reads does not grow with the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.duck import RewriteOptions, fetch
from dap_pipeline.lake.merging.layout import FILE_BYTES, BaseFile, Facts, lay_out
from dap_pipeline.lake.merging.merge import Merged, merging, row_bytes, types_differ, write_merged
from dap_pipeline.lake.merging.plan import (
    NO_DAY,
    ChangeCounts,
    Records,
    candidates,
    compare_with_base,
    plan,
    read_records,
)
from dap_pipeline.lake.merging.read import sources
from dap_pipeline.lake.merging.renaming import rename
from dap_pipeline.lake.rewriting.rewrite import WrittenFile

__all__ = ["WEB_LOGS", "Accumulating", "accumulate", "accumulating", "by_day", "day_of"]

_DAY = 86_400_000_000


@dataclass(frozen=True)
class Accumulating:
    """A table whose rows are kept when DAP drops them."""

    table: TableName
    day_column: str
    """The instant by whose UTC day the rows are kept apart."""


WEB_LOGS = Accumulating(TableName("canvas_logs", "web_logs"), "timestamp")


def accumulating(name: TableName, shape: TableShape) -> Accumulating | None:
    """Tell whether a table is one that accumulates; it must have the column."""
    names = {column.name for column in shape.columns}
    return WEB_LOGS if name == WEB_LOGS.table and WEB_LOGS.day_column in names else None


def accumulate(
    base: Sequence[BaseFile],
    files: Sequence[Path],
    how: Accumulating,
    *,
    base_shape: TableShape,
    shape: TableShape,
    work: Path,
    options: RewriteOptions,
    names: Mapping[str, str] | None = None,
    file_bytes: int = FILE_BYTES,
) -> Merged:
    """Add the tidy files of a snapshot or an increment; only deletions remove a row.

    Files of the base that hold more than one day are split by days first. Where columns have other
    names from now on, by those of the base in ``names``, all its files are written anew before.

    Raises:
        StorageError: the disk is full or may not be written.
        LakeError: the memory does not suffice, or the files are not what the log says.
    """
    adding = _Adding(how, shape, options, file_bytes)
    if names:
        named = rename(base, names, shape=shape, work=work / "named", options=options)
        first = Merged(
            tuple(map(adding.with_bounds, named)), tuple(base), None, ChangeCounts(0, 0, 0, 0)
        )
        again = accumulate(
            _as_base(first.added),
            files,
            how,
            base_shape=shape,
            shape=shape,
            work=work,
            options=options,
            file_bytes=file_bytes,
        )
        return _both(first, again)
    mixed = [file for file in base if day_of(file.path, how.day_column) is None]
    if not mixed:
        return adding.add(base, files, work, base_shape)
    apart = [file for file in base if file not in mixed]
    first = adding.add(apart, [file.path for file in mixed], work / "split", base_shape)
    between = [file for file in apart if file not in first.removed]
    between += _as_base(first.added)
    first = replace(first, removed=(*mixed, *first.removed))
    return _both(first, adding.add(between, files, work, shape))


def _as_base(files: Iterable[WrittenFile]) -> list[BaseFile]:
    return [BaseFile(f.path, f.rows, f.bytes, f.key_min, f.key_max) for f in files]


def _both(first: Merged, second: Merged) -> Merged:
    """Tell of two merges in a row as if they were one."""
    made = {file.path for file in first.added}
    again = {file.path for file in second.removed}
    for path in made & again:
        path.unlink()
    kept = tuple(file for file in first.added if file.path not in again)
    replaced = tuple(file for file in second.removed if file.path not in made)
    return replace(second, added=(*kept, *second.added), removed=(*first.removed, *replaced))


@dataclass(frozen=True)
class _Adding:
    how: Accumulating
    shape: TableShape
    options: RewriteOptions
    file_bytes: int

    def add(
        self, base: Sequence[BaseFile], files: Sequence[Path], work: Path, base_shape: TableShape
    ) -> Merged:
        """Add files to a table each of whose files holds one day."""
        found, _ = sources(files)
        records = Records(tuple(found), self.shape, self.how.day_column)
        with merging(work, self.options) as connection:
            if not files:
                return Merged((), (), None, ChangeCounts(0, 0, 0, 0))
            read_records(connection, records)
            found_days = [day_of(file.path, self.how.day_column) for file in base]
            # The day 0 is one like any other.
            days = [NO_DAY if day is None else day for day in found_days]
            near = set(candidates(connection, base, records)) & _near(connection, days)
            compare_with_base(connection, base, sorted(near), records)
            planned = plan(connection, days)
            facts = Facts(
                base,
                days,
                planned.touched,
                planned.inserts,
                row_bytes(base, files, planned),
                self.file_bytes,
                rewrite_all=types_differ(base_shape, self.shape),
            )
            merged = write_merged(connection, base, records, lay_out(facts), planned, work)
        return replace(merged, added=tuple(self.with_bounds(file) for file in merged.added))

    def with_bounds(self, file: WrittenFile) -> WrittenFile:
        """Add the bounds of the day column, so that a query of one day passes over other files."""
        bounds = _bounds(file.path, self.how.day_column)
        if bounds is None:
            return file
        low, high = (_instant(microseconds) for microseconds in bounds)
        name = self.how.day_column
        return replace(
            file, key_min={**file.key_min, name: low}, key_max={**file.key_max, name: high}
        )


def _near(connection: duckdb.DuckDBPyConnection, days: Sequence[int]) -> set[int]:
    """Give the places of the files that may hold a key of the records."""
    if fetch(connection, "SELECT 1 FROM record WHERE deleted LIMIT 1"):
        return set(range(len(days)))
    wanted = {day for (day,) in fetch(connection, "SELECT DISTINCT part FROM record")}
    return {p for p, day in enumerate(days) if wanted & {day - 1, day, day + 1}}


def by_day(files: Sequence[WrittenFile], how: Accumulating) -> list[list[WrittenFile]]:
    """Put together the files of each day, within which a key has one row."""
    days: dict[int | None, list[WrittenFile]] = {}
    for file in files:
        days.setdefault(day_of(file.path, how.day_column), []).append(file)
    return list(days.values())


def day_of(path: Path, column: str) -> int | None:
    """Give the UTC day of all rows of a file, counted from 1970.

    None where it holds several days. Rows without the instant have a day of their own, ``NO_DAY``.
    """
    with pq.ParquetFile(path) as file:
        rows, nulls = file.metadata.num_rows, _nulls(file.metadata, column)
    if nulls == rows:
        return NO_DAY
    bounds = _bounds(path, column)
    if bounds is None:
        return None
    first, last = (microseconds // _DAY for microseconds in bounds)
    return first if first == last else None


def _bounds(path: Path, column: str) -> tuple[int, int] | None:
    """Read the least and the greatest instant from the footer; None if a row has none."""
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
    if not metadata.num_rows or _nulls(metadata, column):
        return None
    found = [chunk.statistics for chunk in _chunks(metadata, column)]
    known = [each for each in found if each is not None and each.has_min_max]
    if len(known) < metadata.num_row_groups:
        raise LakeError(f"{path.name} lacks statistics of {column}")
    # Of an instant the raw value is the number of microseconds.
    instants = [(int(each.min_raw or 0), int(each.max_raw or 0)) for each in known]
    return min(low for low, _ in instants), max(high for _, high in instants)


def _chunks(metadata: pq.FileMetaData, column: str) -> Iterator[pq.ColumnChunkMetaData]:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for leaf in range(group.num_columns):
            if group.column(leaf).path_in_schema == column:
                yield group.column(leaf)


def _nulls(metadata: pq.FileMetaData, column: str) -> int:
    chunks = list(_chunks(metadata, column))
    # A file of a schema that lacks the column has no chunk of it.
    if len(chunks) < metadata.num_row_groups:
        return int(metadata.num_rows)
    return sum(_null_count(chunk) for chunk in chunks)


def _null_count(chunk: pq.ColumnChunkMetaData) -> int:
    nulls = None if chunk.statistics is None else chunk.statistics.null_count
    if nulls is None:
        raise LakeError(f"a file lacks statistics of {chunk.path_in_schema}")
    return int(nulls)


def _instant(microseconds: int) -> str:
    """Write an instant as the statistics of a Delta log do."""
    whole = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    return whole.isoformat(timespec="microseconds").replace("+00:00", "Z")
