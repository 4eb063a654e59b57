"""Removes files that no recent version of a table needs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.folders import storage_errors

MIN_ORPHAN_AGE = timedelta(hours=1)


def vacuum(folder: Path, keep: timedelta, spared: Collection[str] = ()) -> int:
    """Remove the files of versions that ended before ``keep``, and old files of no version.

    Those that are ``spared`` stay, however old.

    delta-rs only lists them: it would add two commits to the log, and it takes every file that the
    log does not name, however new.
    """
    hours = math.ceil(keep / timedelta(hours=1))
    try:
        delta = DeltaTable(str(folder))
        if _names(folder) <= _current(delta):
            return 0
        ended = _unneeded(delta, hours, full=False)
        unknown = _unneeded(delta, hours, full=True) - ended
    except DeltaError as error:
        raise LakeError(f"old versions of {folder} cannot be listed: {error}") from error
    youngest = time.time() - max(keep, MIN_ORPHAN_AGE).total_seconds()
    removed = 0
    with storage_errors(f"remove old files from {folder}"):
        for name in (ended | unknown) - set(spared):
            path = folder / name
            if not path.is_file():
                continue
            if name in ended or path.stat().st_mtime < youngest:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def _unneeded(delta: DeltaTable, hours: int, *, full: bool) -> set[str]:
    listed = delta.vacuum(
        retention_hours=hours, dry_run=True, enforce_retention_duration=False, full=full
    )
    current = _current(delta)
    return {name for name in listed if "/" not in name and name not in current}


def _names(folder: Path) -> set[str]:
    """Name the files of all versions; readers pass over those that begin with an underscore."""
    with os.scandir(folder) as entries:
        names = {entry.name for entry in entries if entry.is_file()}
    return {name for name in names if not name.startswith(("_", "."))}


def _current(delta: DeltaTable) -> set[str]:
    return {Path(uri).name for uri in delta.file_uris()}
