"""Opens published tables, and remembers what it has read until they change."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError
from dap_pipeline.lake.checked import check_of
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.commits import LOG_FOLDER, load_record_at
from dap_pipeline.lake.merging.merge import BaseFile
from dap_pipeline.lake.records import PublishedTable

# Readers of Delta tables pass over names that begin with an underscore.
CHECKED_FILE = "_checked"
"""In the folder of a table: when DAP had nothing newer."""

_IF_IT_LASTS = (
    "If that lasts, bring this folder back from a backup, or move it away and load the table anew."
)

NONSENSE = (AttributeError, KeyError, TypeError, ValueError, OSError)
"""What reading a log or note raises that is not as this project wrote it, or cannot be opened."""

_COMMIT = re.compile(r"[0-9]{20}\.json")

_Commit = tuple[str, int, int]
"""Name, number on the disk and time of a commit's file."""


@dataclass(frozen=True)
class _Known:
    """A table as it was when this commit was its newest."""

    commit: _Commit
    table: PublishedTable


class Opener:
    """Opens tables; safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[Path, _Known] = {}

    def table(self, name: TableName, folder: Path, version: int | None) -> PublishedTable | None:
        """Read the table in a folder, as it is now or was in a version; None if it is not there.

        The log of the current version is read again only when there is a newer commit.

        Raises:
            LakeError: what lies there cannot be read as a table of this lake.
        """
        if not (folder / LOG_FOLDER).is_dir():
            return None
        if version is not None:
            return _read(name, folder, version)
        # Before the log is read: a commit in between makes the table newer than its mark.
        commit = _newest_commit(folder)
        known = self._known.get(folder)
        if known is not None and known.commit == commit:
            checked = check_of(folder / CHECKED_FILE, known.table.load.loaded)
            return dataclasses.replace(known.table, checked=checked)
        table = _read(name, folder, None)
        if table is not None and commit is not None:
            self._known[folder] = _Known(commit, table)
        return table


def unreadable(folder: Path, name: TableName, error: Exception) -> LakeError:
    """Say that a folder is not a table of the lake."""
    what = f"{folder} cannot be read as a table of this lake: {first_line(error)}"
    return LakeError(what, advice=_IF_IT_LASTS).at(name.namespace, name.table)


def first_line(error: Exception) -> str:
    """Give the words of a failure without the trace that delta-rs puts below them."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _newest_commit(folder: Path) -> _Commit | None:
    """Identify the newest commit, also where the table was removed and made anew."""
    with os.scandir(folder / LOG_FOLDER) as entries:
        names = [entry.name for entry in entries if _COMMIT.fullmatch(entry.name)]
    if not names:
        return None
    file = (folder / LOG_FOLDER / max(names)).stat()
    return max(names), file.st_ino, file.st_mtime_ns


def _read(name: TableName, folder: Path, version: int | None) -> PublishedTable | None:
    try:
        return _describe(name, folder, DeltaTable(str(folder), version=version))
    except TableNotFoundError:
        return None
    except (DeltaError, *NONSENSE) as error:
        if version is not None and not (folder / LOG_FOLDER / f"{version:020d}.json").exists():
            return None
        raise unreadable(folder, name, error) from error


def _describe(name: TableName, folder: Path, delta: DeltaTable) -> PublishedTable:
    version = delta.version()
    load = load_record_at(folder, version)
    if load is None:
        raise ValueError("no commit in its log tells of a load")
    shape = TableShape.from_delta_schema(delta.schema().to_json())
    files: list[dict[str, Any]] = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    return PublishedTable(
        checked=check_of(folder / CHECKED_FILE, load.loaded),
        name=name,
        version=version,
        files=tuple(sorted(str(folder / file["path"]) for file in files)),
        rows=sum(file["num_records"] for file in files),
        bytes=sum(file["size_bytes"] for file in files),
        shape=shape,
        load=load,
        base=tuple(_base_file(folder, file, shape.key) for file in files),
    )


def _base_file(folder: Path, file: dict[str, Any], key: Sequence[str]) -> BaseFile:
    return BaseFile(
        folder / file["path"],
        file["num_records"],
        file["size_bytes"],
        _bounds(file, "min", key),
        _bounds(file, "max", key),
    )


def _bounds(file: dict[str, Any], which: str, key: Sequence[str]) -> dict[str, int | str]:
    found = {name: file.get(f"{which}.{name}") for name in key}
    return {name: bound for name, bound in found.items() if isinstance(bound, int | str)}
