"""Knows what the warehouse's file was built from, so that it is not built anew for nothing.

Where DAP had nothing new, only the times of the checks differ. Then a copy of the file gets them,
which takes a quarter of the time of a build. What a file was built from stands beside it, together
with what tells that nobody has written into it since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path

from dap_pipeline.lake import tables
from dap_pipeline.lake.tables import Lake
from dap_pipeline.warehouse.reading import Glance
from dap_pipeline.warehouse.views import outline_of

_SUFFIX = "built"
_ROOMS = (Path(tables.__file__).parent, Path(__file__).parent)


def mark_of(lake: Lake, glance: Glance) -> str | None:
    """Name all that a file over these tables tells, but for how fresh they are.

    None where something cannot be read: it may be readable by now.
    """
    if not glance.is_whole:
        return None
    digest = hashlib.sha256()
    # After an update of the project, the same lake is told in other words.
    for room in _ROOMS:
        for module in sorted(room.glob("*.py")):
            digest.update(module.read_bytes())
    try:
        for name, table in glance.tables.found.items():
            known = outline_of(table), table.load, glance.changes.found[name], lake.inventory(name)
            digest.update(repr(known).encode())
    except OSError:
        return None
    return digest.hexdigest()


def remember(file: Path, mark: str | None) -> None:
    """Note what the file was built from; None where that is not all that is there."""
    beside = _beside(file)
    if mark is None:
        beside.unlink(missing_ok=True)
        return
    draft = beside.with_name(f"{beside.name}-draft")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({"mark": mark, "file": _identity(file)}), "utf-8")
    draft.replace(beside)


def copy_of_same(file: Path, mark: str | None, target: Path) -> bool:
    """Copy the file if it was built from the very same; tell whether it was."""
    if mark is None:
        return False
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        noted = json.loads(_beside(file).read_text("utf-8"))
        if noted["mark"] == mark and noted["file"] == _identity(file):
            shutil.copyfile(file, target)
            # Else someone has written into it meanwhile.
            return bool(noted["file"] == _identity(file))
    return False


def _identity(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.{_SUFFIX}")
