"""Puts the rows of a snapshot in the order of their keys, one range of keys to a file.

DAP's parts come in any order, so each file has keys of the whole table, and an increment of recent
keys would touch every file. In order, it touches the last ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.duck import RewriteOptions
from dap_pipeline.lake.keys_once import overlapping
from dap_pipeline.lake.merging.layout import FILE_BYTES
from dap_pipeline.lake.merging.merge import merge
from dap_pipeline.lake.rewriting.rewrite import WrittenFile

CLUSTER_BYTES = 4 * FILE_BYTES
"""From here on it pays after two to four refreshes, as BENCHMARKS.md shows; below, it would add a
third to the time of a snapshot to save a second in each refresh."""


def worth_clustering(files: Sequence[WrittenFile], shape: TableShape) -> bool:
    """Tell whether a snapshot's files have overlapping ranges of keys, or one is much too large.

    Keys that are UUIDs tell nothing of their age: in their order, recent rows lie everywhere.
    """
    if sum(file.bytes for file in files) < CLUSTER_BYTES:
        return False
    first = shape.column(shape.key[0])
    if first.duckdb_type == "VARCHAR":
        return False
    # A part of DAP's may have any size, and a file is written anew as a whole.
    if any(file.bytes > CLUSTER_BYTES for file in files):
        return True
    return any(len(group) > 1 for group in overlapping(list(files), first.name))


def cluster(
    files: Sequence[WrittenFile],
    shape: TableShape,
    *,
    work: Path,
    options: RewriteOptions,
    file_bytes: int = FILE_BYTES,
) -> tuple[WrittenFile, ...]:
    """Write the rows of a snapshot's files as files of separate ranges of keys.

    Raises:
        StorageError: the disk is full or may not be written.
        LakeError: the memory does not suffice.
    """
    merged = merge(
        [],
        [file.path for file in files],
        base_shape=shape,
        shape=shape,
        work=work,
        options=options,
        file_bytes=file_bytes,
        with_changes=False,
    )
    return merged.added
