"""Earlier versions of a table: which files they have, and how one is brought back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    """What the log of a table tells, as far back as its versions can be read, or further."""

    loads: tuple[LoadRecord, ...]
    """The newest first."""
    undone: Mapping[int, int]
    """See ``undone_by``."""
    spans: tuple[FileSpan, ...]
    """The files of the versions that can be read."""


def past_of(folder: Path, table: PublishedTable, least: int) -> Past:
    """Read the last commits of a table: all whose versions can be read, and ``least`` at least."""
    found, readable = [], 0
    there = {path.name for path in folder.iterdir()}
    for commit in commits(folder, table.version, with_files=True):
        found.append(commit)
        if readable == len(found) - 1 and commit.removed <= there:
            readable += 1
        elif len(found) >= least:
            break
    loads = tuple(commit.load for commit in found if commit.load is not None)
    return Past(loads, undone_by(loads), tuple(_file_spans(folder, table, found[: readable + 1])))


def undone_by(loads: Iterable[LoadRecord]) -> dict[int, int]:
    """Tell by version which loads a later restore undid, and which version that restore made.

    Args:
        loads: the loads of a table, the newest first.
    """
    undone: dict[int, int] = {}
    restored: LoadRecord | None = None
    for load in loads:
        if restored is not None and load.version > (restored.restored_from or 0):
            undone[load.version] = restored.version
        elif load.restored_from is not None:
            restored = load
    return undone


def _file_spans(folder: Path, table: PublishedTable, found: Sequence[Commit]) -> Iterator[FileSpan]:
    """Follow the files from the current version back to that of the last commit."""
    last = {Path(file).name: table.version for file in table.files}
    oldest = table.version
    for commit in found:
        oldest = commit.version
        for name in commit.added & last.keys():
            yield FileSpan(folder / name, oldest, last.pop(name))
        if commit is not found[-1]:
            last |= dict.fromkeys(commit.removed, oldest - 1)
    for name, version in last.items():
        if version >= oldest:
            yield FileSpan(folder / name, oldest, version)


def version_as_of(loads: list[LoadRecord], instant: datetime) -> LoadRecord | None:
    """Choose the load that has a table's state at an instant of DAP: the newest of before it.

    What a restore undid is not chosen any more.

    Args:
        loads: the loads of the table, the newest first.
        instant: an instant of DAP.
    """
    undone = undone_by(loads)
    earlier = [load for load in loads if load.at <= instant and load.version not in undone]
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
