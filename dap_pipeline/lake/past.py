"""Earlier versions of a table: which files they have, and how one is brought back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from dap_pipeline.dap.models import TableName, format_instant
from dap_pipeline.errors import LakeError
from dap_pipeline.lake.commits import Commit, NewLoad, commits
from dap_pipeline.lake.merging.merge import BaseFile
from dap_pipeline.lake.records import LoadRecord, PublishedTable

SEE_HISTORY = "See the versions with `dap-pipeline history`."


@dataclass(frozen=True)
class FileSpan:
    """A file, and the versions of the table that it belongs to."""

    path: Path
    first_version: int
    last_version: int


@dataclass(frozen=True)
class Past:
    """What the log of a table tells, as far back as it was looked at."""

    loads: tuple[LoadRecord, ...]
    """The newest first."""
    spans: tuple[FileSpan, ...]
    """The files of the versions that can be read."""


def past_of(folder: Path, table: PublishedTable, most: int) -> Past:
    """Read the last commits of a table, ``most`` of them."""
    found = list(islice(commits(folder, table.version, with_files=True), most))
    loads = tuple(commit.load for commit in found if commit.load is not None)
    return Past(loads, tuple(_file_spans(folder, table, found)))


def _file_spans(folder: Path, table: PublishedTable, found: Sequence[Commit]) -> Iterator[FileSpan]:
    """Follow the files from the current version back to the last one that is whole."""
    there = {path.name for path in folder.iterdir()}
    last = {Path(file).name: table.version for file in table.files}
    oldest = table.version
    for commit in found:
        oldest = commit.version
        for name in commit.added & last.keys():
            yield FileSpan(folder / name, oldest, last.pop(name))
        if not oldest or not commit.removed <= there:
            break
        last |= dict.fromkeys(commit.removed, oldest - 1)
    for name, version in last.items():
        if version >= oldest:
            yield FileSpan(folder / name, oldest, version)


def version_as_of(loads: list[LoadRecord], instant: datetime) -> LoadRecord | None:
    """Choose the load that has a table's state at an instant of DAP: the newest of before it."""
    earlier = [load for load in loads if load.at <= instant]
    return max(earlier, key=lambda load: (load.at, load.version), default=None)


def check_readable(table: PublishedTable) -> None:
    """Check that the files of an earlier version are still there.

    Raises:
        LakeError: they were removed.
    """
    gone = [file for file in table.files if not Path(file).exists()]
    if gone:
        raise LakeError(
            f"the files of version {table.version} were removed, as it was replaced longer ago than"
            " DAP_PIPELINE_KEEP_VERSIONS",
            advice=SEE_HISTORY,
        ).at(table.name.namespace, table.name.table)


def no_such_version(name: TableName, which: int | datetime) -> LakeError:
    """Say that there is no such version."""
    words = (
        f"no version {which}"
        if isinstance(which, int)
        else f"no version of {format_instant(which)} or before"
    )
    return LakeError(f"the lake has {words}", advice=SEE_HISTORY).at(name.namespace, name.table)


@dataclass(frozen=True)
class Restoring:
    """An earlier version that takes the place of the current one."""

    current: PublishedTable
    earlier: PublishedTable

    @property
    def load(self) -> NewLoad:
        """What the commit tells: the earlier load once more."""
        load, version = self.earlier.load, self.current.version
        return NewLoad(
            kind=load.kind,
            job_id=load.job_id,
            schema_version=load.schema_version,
            at=load.at,
            since=load.since,
            base_version=version,
            mode=load.mode,
            reason=f"version {self.earlier.version} was restored",
            lineage=version + 1,
            restored_from=self.earlier.version,
            snapshot_at=load.snapshot_at,
        )

    @property
    def added(self) -> list[BaseFile]:
        """Files that the current version does not have."""
        there = {file.path for file in self.current.base}
        return [file for file in self.earlier.base if file.path not in there]

    @property
    def kept(self) -> list[BaseFile]:
        """Files of both versions."""
        there = {file.path for file in self.current.base}
        return [file for file in self.earlier.base if file.path in there]

    @property
    def removed(self) -> list[BaseFile]:
        """Files that the earlier version did not have."""
        wanted = {file.path for file in self.earlier.base}
        return [file for file in self.current.base if file.path not in wanted]
