"""The lake: one Delta table for each DAP table, in a folder.

::

    <root>/origin.json                                      which service the data comes from
    <root>/<namespace>/<table>/_delta_log/…                 kept by delta-rs
    <root>/<namespace>/<table>/snapshot-20261123T120000Z-5f2c1d-00000.parquet
    <root>/<namespace>/<table>/_checked                     empty; its time is when DAP was asked

A committed file never changes, so a reader that has the list of a version's files can read them
without a lock until they are vacuumed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError, UnknownTableError
from dap_pipeline.lake import origin, vacuuming
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.commits import LOG_FOLDER, NewLoad, load_record_at, load_records
from dap_pipeline.lake.folders import storage_errors
from dap_pipeline.lake.publishing import publish
from dap_pipeline.lake.records import LoadRecord, PublishedTable
from dap_pipeline.lake.rewrite import WrittenFile

__all__ = ["Lake", "NewLoad"]

# Readers of Delta tables pass over names that begin with an underscore.
_CHECKED = "_checked"


class Lake:
    """The published tables below a folder; safe to use from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def folder(self, name: TableName) -> Path:
        """Tell the folder of a table, whether or not it is there."""
        return self.root / name.namespace / name.table

    def table(self, name: TableName, version: int | None = None) -> PublishedTable | None:
        """Look a table up, as it is now or as it was in a version; None if it is not there.

        Raises:
            LakeError: what lies there cannot be read as a table of this lake.
        """
        folder = self.folder(name)
        if not (folder / LOG_FOLDER).is_dir():
            return None
        try:
            return _describe(name, folder, DeltaTable(str(folder), version=version))
        except TableNotFoundError:
            return None
        except (DeltaError, KeyError, ValueError, OSError) as error:
            if version is not None and not (folder / LOG_FOLDER / f"{version:020d}.json").exists():
                return None
            raise _unreadable(folder, name, error) from error

    def tables(self) -> list[PublishedTable]:
        """List the published tables in the order of their names."""
        names = []
        for log in self.root.glob(f"*/*/{LOG_FOLDER}"):
            # A folder that someone else put here may have any name.
            with contextlib.suppress(UnknownTableError):
                names.append(TableName(log.parent.parent.name, log.parent.name))
        found = (self.table(name) for name in sorted(names))
        return [table for table in found if table is not None]

    def history(self, name: TableName) -> list[LoadRecord]:
        """List the loads of a table, the newest first, as far back as its log goes."""
        return list(load_records(self.folder(name)))

    def publish(
        self, name: TableName, shape: TableShape, files: Sequence[WrittenFile], load: NewLoad
    ) -> PublishedTable:
        """Move the files into the table and commit them in place of all earlier ones.

        Files and columns change in one commit. A job that is published already changes nothing; its
        files stay where they are. When it fails, the files are back where they were.

        Raises:
            ConcurrentLoadError: another load committed since ``load.base_version``.
            StorageError: the lake may not be written, or the disk is full.
        """
        try:
            publish(self.folder(name), name, shape, files, load)
        except DeltaError as error:
            raise _unreadable(self.folder(name), name, error) from error
        published = self.table(name)
        if published is None:
            raise LakeError("the table is gone right after it was published").at(
                name.namespace, name.table, load.job_id
            )
        return published

    def confirm(self, name: TableName) -> None:
        """Note that DAP was asked just now, and that the published version is its state.

        Raises:
            StorageError: the lake may not be written.
        """
        with storage_errors(f"write into {self.folder(name)}"):
            (self.folder(name) / _CHECKED).touch(mode=0o600)

    def vacuum(self, name: TableName, keep: timedelta) -> int:
        """Remove files that no version of the last ``keep`` needs; tell how many.

        Files that no version knows go too when they are older than ``keep`` and an hour: younger
        ones may belong to a load that is about to commit.

        Raises:
            StorageError: a file could not be removed.
        """
        folder = self.folder(name)
        return vacuuming.vacuum(folder, keep) if (folder / LOG_FOLDER).is_dir() else 0

    def claim(self, service: str) -> None:
        """Tie the lake to the DAP service that its data comes from.

        Raises:
            WrongOriginError: it holds the data of another service.
            StorageError: the lake may not be written.
        """
        origin.claim(self.root, service)

    def check_writable(self) -> None:
        """Check that the lake can be written, before a job is started for it.

        Raises:
            StorageError: it cannot.
        """
        origin.check_writable(self.root)


def _unreadable(folder: Path, name: TableName, error: Exception) -> LakeError:
    what = f"{folder} cannot be read as a table of this lake: {error}"
    return LakeError(what).at(name.namespace, name.table)


def _describe(name: TableName, folder: Path, delta: DeltaTable) -> PublishedTable:
    version = delta.version()
    load = load_record_at(folder, version)
    if load is None:
        raise ValueError("no commit in its log tells of a load")
    files: list[dict[str, Any]] = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    return PublishedTable(
        checked_at=max(load.committed_at, _time_of(folder / _CHECKED)),
        name=name,
        version=version,
        files=tuple(sorted(str(folder / file["path"]) for file in files)),
        rows=sum(file["num_records"] for file in files),
        bytes=sum(file["size_bytes"] for file in files),
        shape=TableShape.from_delta_schema(delta.schema().to_json()),
        load=load,
    )


def _time_of(file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        return datetime.fromtimestamp(0, UTC)
