"""Merges increments into a table by copy on write: from files to files, nothing is published.

Only files that hold a changed key are written anew, beside small ones that new rows are put to; the
caller swaps them in one commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.duck import RewriteOptions, connect, not_of_the_data
from dap_pipeline.lake.folders import make_private, storage_errors
from dap_pipeline.lake.merging.layout import FILE_BYTES, BaseFile, Facts, Layout, lay_out
from dap_pipeline.lake.merging.plan import (
    ChangeCounts,
    Plan,
    Records,
    candidates,
    compare_with_base,
    plan,
    read_records,
)
from dap_pipeline.lake.merging.read import sources
from dap_pipeline.lake.merging.write import Writer, changes_shape, write_changes
from dap_pipeline.lake.rewriting.rewrite import WrittenFile

__all__ = ["FILE_BYTES", "BaseFile", "ChangeCounts", "Merged", "changes_shape", "merge"]


@dataclass(frozen=True)
class Merged:
    """What a merge wrote; files of the base that are not in ``removed`` stay as they are."""

    added: tuple[WrittenFile, ...]
    """New files, in the work folder."""
    removed: tuple[BaseFile, ...]
    changes: WrittenFile | None
    """What became of each key that changed (``changes_shape``); None when none did."""
    counts: ChangeCounts


def merge(
    base: Sequence[BaseFile],
    increments: Sequence[Path],
    *,
    base_shape: TableShape,
    shape: TableShape,
    work: Path,
    options: RewriteOptions,
    file_bytes: int = FILE_BYTES,
    with_changes: bool = True,
) -> Merged:
    """Apply tidy increments, which have ``meta_action``, to the files of a table.

    All files are written anew where a type of ``base_shape`` differs from that of ``shape``, so
    that every reader finds one type.

    Raises:
        StorageError: the disk is full or may not be written.
        LakeError: the memory does not suffice, or the files are not what the log says.
    """
    found, _ = sources(increments)
    records = Records(tuple(found), shape)
    with merging(work, options) as connection:
        if not increments:
            return Merged((), (), None, ChangeCounts(0, 0, 0, 0))
        read_records(connection, records)
        compare_with_base(connection, base, candidates(connection, base, records), records)
        partitions = [0] * len(base)
        planned = plan(connection, partitions)
        facts = Facts(
            base,
            partitions,
            planned.touched,
            planned.inserts,
            row_bytes(base, increments, planned),
            file_bytes,
            rewrite_all=types_differ(base_shape, shape),
        )
        layout = lay_out(facts)
        return write_merged(
            connection, base, records, layout, planned, work, with_changes=with_changes
        )


@contextlib.contextmanager
def merging(work: Path, options: RewriteOptions) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a connection; what goes wrong is explained, and leaves no file in ``work``."""
    with storage_errors(f"write into {work}"):
        make_private(work)
        try:
            with connect(options.for_merging()) as connection:
                yield connection
        except BaseException as error:
            for name in ("merged-*.parquet", "changes.parquet"):
                for path in work.glob(name):
                    path.unlink(missing_ok=True)
            if isinstance(error, duckdb.Error):
                raise _explained(error) from None
            raise


def _explained(error: duckdb.Error) -> LakeError:
    # DuckDB's own text repeats values.
    known = not_of_the_data(error, "merge the changes into the table")
    return known or LakeError(f"the changes cannot be merged ({type(error).__name__})")


def types_differ(base_shape: TableShape, shape: TableShape) -> bool:
    """Tell whether a column of both shapes has another type in the one than in the other."""
    before = {column.name: column.duckdb_type for column in base_shape.columns}
    return any(before.get(c.name, c.duckdb_type) != c.duckdb_type for c in shape.columns)


def row_bytes(base: Sequence[BaseFile], increments: Sequence[Path], planned: Plan) -> float:
    """Estimate what a new row takes in a file."""
    rows = sum(file.rows for file in base)
    if rows:
        return max(1.0, sum(file.bytes for file in base) / rows)
    new = sum(planned.inserts.values())
    return max(1.0, sum(path.stat().st_size for path in increments) / new) if new else 1.0


def write_merged(
    connection: duckdb.DuckDBPyConnection,
    base: Sequence[BaseFile],
    records: Records,
    layout: Layout,
    planned: Plan,
    work: Path,
    *,
    with_changes: bool = True,
) -> Merged:
    """Write all files of a layout, and check the sum of their rows.

    Raises:
        LakeError: rows before, less deleted, plus inserted ones are not the rows after.
    """
    writer = Writer(connection, base, records, layout, work)
    added = tuple(writer.write())
    removed = tuple(base[number] for number in layout.removed)
    grown = sum(file.rows for file in added) - sum(file.rows for file in removed)
    counts = planned.counts
    gone = counts.deleted + planned.surplus
    if grown != counts.inserted - gone:
        raise LakeError(
            f"{counts.inserted} inserted and {gone} deleted rows make no difference of {grown} rows"
        )
    changes = write_changes(connection, records.shape, work) if with_changes else None
    return Merged(added, removed, changes, counts)
