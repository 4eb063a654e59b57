"""Folders and files that only their owner can read, and what the disk says when it refuses."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from dap_pipeline.dap.disk import make_private, sync
from dap_pipeline.errors import StorageError

__all__ = ["make_files_private", "make_private", "refused_by_storage", "storage_errors", "sync"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SIGNS_OF_FULL = ("no space left", "disk quota", "file too large", "os error 28")


def make_files_private(folder: Path) -> None:
    """Take the rights of others from the files in a folder, where they have any."""
    with os.scandir(folder) as entries:
        for entry in entries:
            # Another process may tidy up at the same time.
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and entry.stat().st_mode & 0o077:
                    os.chmod(entry.path, 0o600)  # noqa: PTH101  # scandir gives texts


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn what the file system refuses into a StorageError: ``doing`` ends "could not …"."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in _FULL else error.strerror or str(error)
        raise StorageError(f"could not {doing}: {reason}") from error


def refused_by_storage(text: str) -> str | None:
    """Name the reason if an error text of DuckDB or delta-rs tells of a full or closed disk."""
    lowered = text.lower()
    if any(sign in lowered for sign in _SIGNS_OF_FULL):
        return "the disk is full"
    if "permission denied" in lowered or "read-only file system" in lowered:
        return "it may not be written"
    return None
