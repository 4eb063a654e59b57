"""Makes tidy files for the tests of merging, and a table in a dictionary to compare them with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dap_pipeline.lake.columns import META_ACTION, TableShape
from dap_pipeline.lake.duck import RewriteOptions
from dap_pipeline.lake.merging.merge import FILE_BYTES, BaseFile, Merged, merge
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.verify import arrow_type
from dap_pipeline_tests.lake.making import comparable

Row = dict[str, Any]
START = datetime(2024, 1, 1, tzinfo=UTC)


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def tidy(path: Path, shape: TableShape, rows: Sequence[Row]) -> Path:
    """Write a file as `rewrite` does; columns that a row lacks are NULL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(column.name, arrow_type(column.type)) for column in shape.columns])
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    pq.write_table(pa.table(columns, schema=schema), path, row_group_size=50)
    return path


def increment(path: Path, shape: TableShape, rows: Sequence[Row]) -> Path:
    """Write the file of an increment; rows have `meta_action`, else they are upserts."""
    with_action = [{META_ACTION.name: "U", **row} for row in rows]
    return tidy(path, shape.with_action(), with_action)


def base_file(path: Path, shape: TableShape, rows: Sequence[Row]) -> BaseFile:
    tidy(path, shape, rows)
    lows, highs = ({k: f(row[k] for row in rows) for k in shape.key} for f in (min, max))
    return BaseFile(path, len(rows), path.stat().st_size, lows, highs)


def as_base(files: Iterable[WrittenFile]) -> list[BaseFile]:
    return [BaseFile(f.path, f.rows, f.bytes, f.key_min, f.key_max) for f in files]


def rows_in(paths: Iterable[Path], names: Sequence[str]) -> list[Row]:
    """Read the rows of files; instants as microseconds, and NULL where a file lacks a column."""
    rows: list[Row] = []
    for path in paths:
        found = pq.read_table(path).to_pylist()
        rows += [{name: _plain(row.get(name)) for name in names} for row in found]
    return rows


def _plain(value: Any) -> Any:
    # DuckDB 1 writes -0.0 and 0.0 in one group of rows as the same zero; they are equal anyway.
    if value == 0.0:
        value = abs(value)
    return value if isinstance(value, datetime) else comparable(value)


@dataclass
class Table:
    """Files on the disk, and what must be in them."""

    folder: Path
    shape: TableShape
    files: list[BaseFile] = field(default_factory=list)
    truth: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    file_bytes: int = FILE_BYTES
    memory: str = "400MB"
    merges: int = 0

    def begin(self, rows: Sequence[Row], per_file: int) -> None:
        for number, first in enumerate(range(0, len(rows), per_file)):
            path = self.folder / f"base-{number}.parquet"
            self.files.append(base_file(path, self.shape, rows[first : first + per_file]))
        self.truth = {self.key_of(row): row for row in rows}

    def key_of(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.shape.key)

    def merge(self, paths: Sequence[Path], shape: TableShape | None = None) -> Merged:
        """Merge increments into the files; the base of the next merge is what came out."""
        self.merges += 1
        work = self.folder / f"work-{self.merges}"
        merged = merge(
            self.files,
            paths,
            base_shape=self.shape,
            shape=shape or self.shape,
            work=work,
            options=self.options(work / "spill"),
            file_bytes=self.file_bytes,
        )
        self.shape = shape or self.shape
        self.swap(merged)
        return merged

    def options(self, temp_dir: Path) -> RewriteOptions:
        return RewriteOptions(memory=self.memory, threads=2, temp_dir=temp_dir)

    def swap(self, merged: Merged) -> None:
        assert {f.path for f in merged.removed} <= {f.path for f in self.files}
        self.files = [f for f in self.files if f not in merged.removed] + as_base(merged.added)

    def apply(self, records: Sequence[Row]) -> dict[str, int]:
        """Do to the dictionary what the records ask for, and count it."""
        counts = dict.fromkeys(("inserted", "updated", "deleted", "unchanged"), 0)
        for key, record in self._last_of_each(records).items():
            deleted = record.get("meta_action") == "D"
            row = {k: v for k, v in record.items() if k != "meta_action"}
            before = self.truth.get(key)
            if before is None:
                counts["unchanged" if deleted else "inserted"] += 1
                if not deleted:
                    self.truth[key] = row
            elif (row["meta_ts"], deleted) <= (before["meta_ts"], False):
                counts["unchanged"] += 1
            elif deleted:
                counts["deleted"] += 1
                del self.truth[key]
            else:
                counts["updated"] += 1
                self.truth[key] = row
        return counts

    def _last_of_each(self, records: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
        last: dict[tuple[Any, ...], Row] = {}
        order: dict[tuple[Any, ...], Any] = {}
        for place, record in enumerate(records):
            key, rank = (
                self.key_of(record),
                (record["meta_ts"], record.get("meta_action") == "D", place),
            )
            if key not in last or rank > order[key]:
                last[key], order[key] = record, rank
        return last

    def check(self) -> None:
        """Compare the files with the dictionary, and the bounds and rows with the files."""
        names = [column.name for column in self.shape.columns]
        found = rows_in((file.path for file in self.files), names)
        wanted = [{n: _plain(row.get(n)) for n in names} for row in self.truth.values()]
        assert sorted(found, key=self.key_of) == sorted(wanted, key=self.key_of)
        for file in self.files:
            inside = rows_in([file.path], names)
            assert len(inside) == file.rows
            for name, low in file.key_min.items():
                if name in self.shape.key:
                    assert low == min(row[name] for row in inside)
                    assert file.key_max[name] == max(row[name] for row in inside)


def counted(merged: Merged) -> Mapping[str, int]:
    counts = merged.counts
    return {
        "inserted": counts.inserted,
        "updated": counts.updated,
        "deleted": counts.deleted,
        "unchanged": counts.unchanged,
    }
