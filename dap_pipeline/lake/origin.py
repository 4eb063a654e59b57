"""Keeps the data of two DAP services from mixing in one lake."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

from dap_pipeline.errors import StorageError, WrongOriginError
from dap_pipeline.lake.folders import make_private, storage_errors

FILE_NAME = "origin.json"

# DuckDB reads the first three as patterns; delta-rs (1.6) mistakes the others in some paths.
_UNUSABLE = set("*?[%\\")


def claim(root: Path, service: str) -> None:
    """Write down the service whose data the lake holds, or compare it with what is written."""
    path = root / FILE_NAME
    with storage_errors(f"write {path}"):
        make_private(root)
        if not path.exists():
            _write_once(path, json.dumps({"origin": service}) + "\n")
        text = path.read_text("utf-8")
    found = _origin_in(text)
    if found is None:
        raise StorageError(
            f"{path} does not say which DAP service the lake's data comes from",
            advice=f"If it is that of {service}, remove the file and run it again.",
        )
    if found != service:
        raise WrongOriginError(f"{root} holds the data of {found}, not of {service}")


def check_writable(root: Path) -> None:
    """Write and remove a small file in the lake, and check that its path can be used."""
    unusable = sorted(_UNUSABLE & set(str(root)))
    if unusable:
        raise StorageError(
            f"the path of the lake, {root}, contains {' '.join(unusable)}",
            advice="Set DAP_PIPELINE_DATA_DIR to a path without these characters.",
        )
    with storage_errors(f"write into the lake {root}"):
        make_private(root)
        with tempfile.TemporaryFile(dir=root) as trial:
            trial.write(b"\0" * 4096)
            trial.flush()


def _write_once(path: Path, text: str) -> None:
    """Write a file whole or not at all; the first of two processes wins."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".origin-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()


def _origin_in(text: str) -> str | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    origin = found.get("origin") if isinstance(found, dict) else None
    return origin if isinstance(origin, str) else None
