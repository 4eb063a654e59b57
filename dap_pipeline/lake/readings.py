"""Reads many tables of a lake, and tells those apart that cannot be read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError, UnknownTableError
from dap_pipeline.lake.commits import LOG_FOLDER

T = TypeVar("T")

_READ_AT_ONCE = 4


@dataclass(frozen=True)
class Readings(Generic[T]):
    """What was read of each table, in the order of the names, and why it was not of others."""

    found: Mapping[TableName, T]
    failures: Mapping[TableName, LakeError]


def read_each(names: Iterable[TableName], read: Callable[[TableName], T | None]) -> Readings[T]:
    """Read something of each table; one that cannot be read holds no other up.

    Args:
        names: the tables.
        read: reads it of one, or raises a ``LakeError``; None where there is nothing.
    """

    def attempt(name: TableName) -> T | LakeError | None:
        try:
            return read(name)
        except LakeError as error:
            return error.at(name.namespace, name.table)

    names = sorted(names)
    # delta-rs waits for the disk without holding other threads up.
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        pairs = list(zip(names, pool.map(attempt, names), strict=True))
    failures = {name: got for name, got in pairs if isinstance(got, LakeError)}
    found = {n: got for n, got in pairs if not (got is None or isinstance(got, LakeError))}
    return Readings(found, failures)


def names_in(root: Path) -> list[TableName]:
    """Name the tables in the folder of a lake, and what may be one but cannot be looked into."""
    names = []
    for folder in root.glob("*/*"):
        # A folder that someone else put here may have any name.
        with contextlib.suppress(UnknownTableError):
            name = TableName(folder.parent.name, folder.name)
            if _may_be_there(folder / LOG_FOLDER):
                names.append(name)
    return sorted(names)


def _may_be_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:
        return True
