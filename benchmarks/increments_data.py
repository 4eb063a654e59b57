"""Makes a table of canvas.submissions as tidy files in the order of its key, and its increments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.lake_parts import make_parts, shape
from dap_pipeline.lake.duck import RewriteOptions
from dap_pipeline.lake.merging.merge import BaseFile
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.rewrite import rewrite
from dap_pipeline.lake.sql import literal, literals
from dap_pipeline.settings import SourceFormat

# About 64 MB as a tidy file; 16 of them are a table of 1 GB.
FILES, ROWS = 16, 425_900
_LATER = "make_timestamptz(1800000000000000)"


@dataclass(frozen=True)
class Base:
    """The files of a table, ordered by key."""

    files: tuple[BaseFile, ...]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    def edge(self, *, last: bool) -> int:
        """Give the least or the greatest key."""
        bounds = [(f.key_max if last else f.key_min)["id"] for f in self.files]
        found = [bound for bound in bounds if isinstance(bound, int)]
        return max(found) if last else min(found)


def make_base(folder: Path, files: int = FILES, rows: int = ROWS) -> Base:
    """Rewrite parts, one to a file, each with a range of keys of its own."""
    made: list[BaseFile] = []
    for number, part in enumerate(make_parts(folder, SourceFormat.PARQUET, parts=files, rows=rows)):
        written = rewrite(
            [part],
            shape(),
            source=SourceFormat.PARQUET,
            kind=LoadKind.SNAPSHOT,
            target=folder / f"base-{number:03d}.parquet",
            options=RewriteOptions("1GB", 2, folder / "spill"),
        )
        part.unlink()
        made.append(
            BaseFile(written.path, written.rows, written.bytes, written.key_min, written.key_max)
        )
    return Base(tuple(made))


def make_increment(path: Path, base: Base, share: float, *, recent: bool, seed: int = 0) -> int:
    """Write an increment that concerns a share of the rows; give the number of its records.

    One in ten records is a new row, one in fifty of the others a deletion. ``recent``: the rows are
    every second of the newest; else they are spread over the whole table.
    """
    wanted = max(10, int(base.rows * share))
    old, new = wanted * 9 // 10, wanted - wanted * 9 // 10
    first, last = base.edge(last=False), base.edge(last=True)
    step = 2 if recent else max(1, base.rows // old)
    chosen = f"id % {step} = {seed % step}" + (f" AND id > {last - 2 * old}" if recent else "")
    table = f"read_parquet({literals([str(file.path) for file in base.files])})"
    again = f"SELECT * REPLACE ({_LATER} AS meta_ts) FROM {table}"
    action = f"CASE WHEN hash(id, {seed}) % 50 = 0 THEN 'D' ELSE 'U' END AS meta_action"
    shift = last + 1 - first + seed * new
    query = (
        f"SELECT *, {action} FROM ({again}) WHERE {chosen} UNION ALL"
        f" SELECT * REPLACE (id + {shift} AS id), 'U' FROM ({again}) WHERE id < {first + new}"
    )
    with duckdb.connect(config={"preserve_insertion_order": False, "threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        copy = f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)"
        return int(connection.execute(copy).fetchall()[0][0])
