"""The lake: one Delta table for each DAP table, in a folder.

::

    <root>/origin.json                                      which service the data comes from
    <root>/<namespace>/<table>/_delta_log/…                 kept by delta-rs
    <root>/<namespace>/<table>/snapshot-20261123T120000Z-5f2c1d-00000.parquet
    <root>/<namespace>/<table>/_changes/…                   what increments changed, one more table
    <root>/<namespace>/<table>/_checked                     when DAP had nothing newer, up to when

A committed file never changes, so a reader that has the list of a version's files can read them
without a lock until they are vacuumed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from deltalake.exceptions import DeltaError

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError, UnknownTableError
from dap_pipeline.lake import changes_table, checked, origin, vacuuming
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.commits import LOG_FOLDER, NewLoad, load_records
from dap_pipeline.lake.duck import RewriteOptions
from dap_pipeline.lake.folders import storage_errors
from dap_pipeline.lake.merging.merge import BaseFile
from dap_pipeline.lake.opening import CHECKED_FILE, NONSENSE, Opener, unreadable
from dap_pipeline.lake.past import (
    Past,
    Restoring,
    check_readable,
    no_such_version,
    past_of,
    version_as_of,
)
from dap_pipeline.lake.publishing import CHANGES_FOLDER, Content, publish, publish_again
from dap_pipeline.lake.readings import Readings, names_in, read_each
from dap_pipeline.lake.records import LoadRecord, PublishedTable
from dap_pipeline.lake.rewriting.rewrite import WrittenFile

__all__ = ["Lake", "NewLoad"]


class Lake:
    """The published tables below a folder; safe to use from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._opener = Opener()

    def folder(self, name: TableName) -> Path:
        """Tell the folder of a table, whether or not it is there."""
        return self.root / name.namespace / name.table

    def table(self, name: TableName, version: int | None = None) -> PublishedTable | None:
        """Look a table up, as it is now or as it was in a version; None if it is not there.

        Raises:
            LakeError: what lies there cannot be read as a table of this lake.
        """
        with self._reading(name):
            return self._opener.table(name, self.folder(name), version)

    def names(self) -> list[TableName]:
        """Name the tables that are there, whether or not they can be read."""
        return names_in(self.root)

    def tables(self) -> list[PublishedTable]:
        """List the published tables in the order of their names.

        Raises:
            LakeError: one of them cannot be read.
        """
        readings = self.readable_tables()
        for error in readings.failures.values():
            raise error
        return list(readings.found.values())

    def readable_tables(self) -> Readings[PublishedTable]:
        """Read the published tables, and tell why some cannot be read."""
        return read_each(self.names(), self.table)

    def inventory(self, name: TableName) -> list[tuple[str, int, int]]:
        """List the files of a table, its log and its changes, with their bytes and times.

        Raises:
            OSError: a folder cannot be looked into.
        """
        folder = self.folder(name)
        logs = [each / LOG_FOLDER for each in (folder, folder / CHANGES_FOLDER)]
        places = [folder, folder / CHANGES_FOLDER, *logs]
        return sorted(file for place in places if place.is_dir() for file in _files_in(place))

    def history(self, name: TableName, most: int | None = None) -> list[LoadRecord]:
        """List the loads of a table, the newest first, as far back as its log goes.

        Raises:
            LakeError: its log cannot be read.
        """
        with self._reading(name):
            return list(islice(load_records(self.folder(name)), most))

    @contextmanager
    def _reading(self, name: TableName) -> Iterator[None]:
        try:
            yield
        except NONSENSE as error:
            raise unreadable(self.folder(name), name, error) from error

    def publish(
        self,
        name: TableName,
        shape: TableShape,
        files: Sequence[WrittenFile],
        load: NewLoad,
        *,
        removed: Sequence[BaseFile] | None = None,
        changes: WrittenFile | None = None,
    ) -> PublishedTable:
        """Move the files into the table and commit them, in place of all earlier ones or of some.

        Files and columns change in one commit. A job that is published already changes nothing; its
        files stay where they are. When it fails, the files are back where they were.

        Args:
            name: the table.
            shape: its columns from now on.
            files: the new files.
            load: where they come from; it is refused unless its base is the published version.
            removed: files of the base that go, the others stay; None removes all.
            changes: a file of what the load changed, for the table of changes.

        Raises:
            ConcurrentLoadError: another load committed since ``load.base_version``.
            StorageError: the lake may not be written, or the disk is full.
        """
        folder = self.folder(name)
        try:
            publish(folder, name, self._content(name, shape, files, load, removed, changes), load)
        except DeltaError as error:
            raise unreadable(folder, name, error) from error
        published = self.table(name)
        if published is None:
            raise LakeError("the table is gone right after it was published").at(
                name.namespace, name.table, load.job_id
            )
        return published

    def _content(
        self,
        name: TableName,
        shape: TableShape,
        files: Sequence[WrittenFile],
        load: NewLoad,
        removed: Sequence[BaseFile] | None,
        changes: WrittenFile | None,
    ) -> Content:
        base = None if removed is None else self.table(name, load.base_version)
        if removed is None or base is None:
            return Content(shape, files, changes=changes)
        gone = {file.path.name for file in removed}
        kept = [file for file in base.base if file.path.name not in gone]
        return Content(shape, files, kept, removed, changes)

    def confirm(
        self, table: PublishedTable, until: datetime, ago: timedelta = timedelta()
    ) -> PublishedTable:
        """Note that DAP was asked, and had nothing newer so long ago; give the table with it.

        Args:
            table: what is published.
            until: DAP's instant up to which nothing came; one before the watermark tells nothing.
            ago: how long ago it was so.

        Raises:
            StorageError: the lake may not be written.
        """
        file = self.folder(table.name) / CHECKED_FILE
        with storage_errors(f"write into {file.parent}"):
            checked.note(file, table.load.loaded, max(until, table.watermark), ago)
        return replace(table, checked=checked.check_of(file, table.load.loaded))

    def has_unsettled_changes(self, name: TableName, keep: timedelta) -> bool:
        """Tell whether the table of changes lacks what the last loads changed, or has what is old.

        Raises:
            LakeError: the table of changes cannot be read.
        """
        return changes_table.unsettled(self.folder(name), load_records(self.folder(name)), keep)

    def unrecorded_changes(self, names: Sequence[TableName]) -> list[str]:
        """Say of each table why what its last loads changed is not on record; empty where it is."""
        found = read_each(names, self._unrecorded).found
        return [found[name] for name in names]

    def _unrecorded(self, name: TableName) -> str:
        folder = self.folder(name)
        try:
            with self._reading(name):
                waiting = changes_table.waiting(folder, load_records(folder))
        except LakeError as error:
            return error.what
        if not waiting:
            return ""
        return (
            f"what {len(waiting)} loads changed is not in dap.changes yet: the next load tries it"
            " again, and its log says why it failed"
        )

    def settle_changes(self, name: TableName, keep: timedelta, options: RewriteOptions) -> None:
        """Put what the last loads changed into the table of changes; what is older goes.

        It is done after each load; the next one does it if a load ended too early for it.

        Raises:
            StorageError: the lake may not be written.
            LakeError: the table of changes cannot be read or written.
        """
        table = self.table(name)
        if table is not None:
            loads = load_records(self.folder(name))
            changes_table.settle(self.folder(name), table, loads, keep=keep, options=options)

    def as_of(self, name: TableName, which: int | datetime | None) -> PublishedTable:
        """Give a version whose files can be read: by number, by DAP's instant, or the current one.

        Raises:
            LakeError: there is none, or its files were removed.
            UnknownTableError: the table is not in the lake.
        """
        version = self._version_as_of(name, which) if isinstance(which, datetime) else which
        if self.table(name) is None:
            raise UnknownTableError(
                f"{name} is not in the lake", advice="See what is there with `dap-pipeline status`."
            )
        table = self.table(name, version)
        if table is None:
            raise no_such_version(name, which or 0)
        check_readable(table)
        return table

    def _version_as_of(self, name: TableName, instant: datetime) -> int:
        load = version_as_of(self.history(name), instant)
        if load is None:
            raise no_such_version(name, instant)
        return load.version

    def restore(self, name: TableName, version: int) -> PublishedTable:
        """Bring an earlier version back, as a new one; the next increment goes on from it.

        Raises:
            LakeError: there is no such version, or its files were removed.
            ConcurrentLoadError: a load was published in between.
            StorageError: the lake may not be written, or the disk is full.
            UnknownTableError: the table is not in the lake.
        """
        restoring = Restoring(self.as_of(name, None), self.as_of(name, version))
        try:
            publish_again(self.folder(name), name, restoring)
        except DeltaError as error:
            raise unreadable(self.folder(name), name, error) from error
        return self.as_of(name, None)

    def past(self, table: PublishedTable, least: int) -> Past:
        """Read the loads of a table, and the files of each version that can be read.

        These are all loads whose versions can be read, and the last ``least`` at least.

        Raises:
            LakeError: its log cannot be read.
        """
        with self._reading(table.name):
            return past_of(self.folder(table.name), table, least)

    def all_changes(self, names: Sequence[TableName]) -> Readings[tuple[str, ...]]:
        """List the files of changes of many tables; see ``changes``."""
        return read_each(names, self.changes)

    def changes(self, name: TableName) -> tuple[str, ...]:
        """List the files of the table's changes, the newest first.

        Raises:
            LakeError: the table of changes cannot be read.
        """
        return changes_table.files(self.folder(name))

    def vacuum(self, name: TableName, keep: timedelta) -> int:
        """Remove files that no version of the last ``keep`` needs; tell how many.

        Files that no version knows go too when they are older than ``keep`` and an hour: younger
        ones may belong to a load that is about to commit. Changes that wait to be recorded stay.

        Raises:
            StorageError: a file could not be removed.
            LakeError: the table, or that of its changes, cannot be read.
        """
        folder = self.folder(name)
        removed = vacuuming.vacuum(folder, keep) if (folder / LOG_FOLDER).is_dir() else 0
        aside = folder / CHANGES_FOLDER
        if not (aside / LOG_FOLDER).is_dir():
            return removed
        waiting = changes_table.waiting(folder, load_records(folder))
        return removed + vacuuming.vacuum(aside, keep, waiting)

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


def _files_in(folder: Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            # Notes of checks change without a change of what can be read.
            if not entry.name.startswith("_"):
                found = entry.stat()
                yield entry.path, found.st_size, found.st_mtime_ns
