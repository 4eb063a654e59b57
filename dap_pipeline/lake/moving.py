"""Moves written files into a table, and back when they are not committed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deltalake.exceptions import DeltaError

from dap_pipeline.lake.folders import sync
from dap_pipeline.lake.rewriting.rewrite import WrittenFile


@dataclass
class Moved:
    """Files on their way into a table: where each lies now, and what was written about it."""

    files: list[tuple[Path, WrittenFile]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """The names that the files have in the table."""
        return {path.name for path, _ in self.files}

    @property
    def rows(self) -> int:
        """The rows of all the files."""
        return sum(file.rows for _, file in self.files)


@contextlib.contextmanager
def moved_into(
    folder: Path, files: Sequence[WrittenFile], stem: str, is_committed: Callable[[Moved], bool]
) -> Iterator[Moved]:
    """Move the files into the folder; when the block fails, back to where they were.

    Args:
        folder: where the files go.
        files: what was written.
        stem: beginning of their new names.
        is_committed: tells after a failure whether the files were committed all the same.
    """
    moved = Moved()
    try:
        for index, file in enumerate(files):
            target = folder / f"{stem}-{index:05d}.parquet"
            # Vacuuming judges by the time of the file, not of its writing, whether it is in use.
            os.utime(file.path)
            file.path.chmod(0o600)
            sync(file.path)
            moved.files.append((target, file))
            move(file.path, target)
        if files:
            sync(folder)
        yield moved
    except BaseException:
        # An interrupt may arrive when the commit is done: what is published must stay.
        with contextlib.suppress(OSError, DeltaError):
            if not is_committed(moved):
                for target, file in moved.files:
                    with contextlib.suppress(FileNotFoundError):
                        move(target, file.path)
        raise


def stem_of(kind: str, mark: str) -> str:
    """Begin the names of one load's files; no two loads have the same beginning."""
    return f"{kind}-{mark}-{secrets.token_hex(3)}"


def move(source: Path, target: Path) -> None:
    """Rename a file, or copy it where the target is on another file system."""
    try:
        os.replace(source, target)  # noqa: PTH105  # the same call, and it names its meaning
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copied(source, target)
        source.unlink()


def linked(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no such names."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV):
            raise
        _copied(source, target)


def _copied(source: Path, target: Path) -> None:
    """Copy a file; under its name it is there whole or not at all."""
    draft = target.with_name(f".{target.name}")
    try:
        draft.touch(mode=0o600)
        shutil.copyfile(source, draft)
        sync(draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
