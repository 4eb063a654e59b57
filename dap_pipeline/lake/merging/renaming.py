"""Writes the files of a table anew, with other names for some of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.duck import RewriteOptions
from dap_pipeline.lake.merging.layout import BaseFile
from dap_pipeline.lake.merging.merge import merging
from dap_pipeline.lake.merging.read import Source, source
from dap_pipeline.lake.merging.write import write_file
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.sql import identifier


@dataclass(frozen=True)
class _Renamed(Source):
    """A file whose columns are read under other names."""

    names: Mapping[str, str]

    @property
    def relation(self) -> str:
        """The SQL relation over the file."""
        pairs = ", ".join(
            f"{identifier(old)} AS {identifier(new)}" for old, new in self.names.items()
        )
        return f"(SELECT * RENAME ({pairs}) FROM {super().relation})"


def rename(
    base: Sequence[BaseFile],
    names: Mapping[str, str],
    *,
    shape: TableShape,
    work: Path,
    options: RewriteOptions,
) -> tuple[WrittenFile, ...]:
    """Write each file anew as one of ``shape``, into which its columns go by their new names.

    Raises:
        StorageError: the disk is full or may not be written.
        LakeError: the memory does not suffice.
    """
    with merging(work, options) as connection:
        written = []
        for number, file in enumerate(base):
            renamed = _renamed(source(file.path), names)
            query = f"SELECT {renamed.values(shape.columns)} FROM {renamed.relation}"
            target = work / f"merged-{number:05d}.parquet"
            written.append(write_file(connection, query, shape, target, rows=file.rows))
        return tuple(written)


def _renamed(file: Source, names: Mapping[str, str]) -> Source:
    # A file that is older than a column does not have it.
    there = {old: new for old, new in names.items() if old in file.types}
    if not there:
        return file
    types = {there.get(name, name): kind for name, kind in file.types.items()}
    return _Renamed(file.paths, file.first, types, there)
