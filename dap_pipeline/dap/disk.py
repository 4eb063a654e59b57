"""Folders that only their owner can enter, and files that outlive a power failure."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the owner alone.

    Folders that are there already stay as they are.
    """
    # One by one: `mkdir(parents=True)` gives the mode to the last folder only.
    for part in (*reversed(folder.parents), folder):
        with contextlib.suppress(FileExistsError):
            if not part.is_dir():
                part.mkdir(mode=0o700)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file is in the way", str(folder))


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
