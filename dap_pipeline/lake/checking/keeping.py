"""Keeps what the checks said beside the table, so that an unchanged table is not read again."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dap_pipeline.lake.checking.results import CheckReport

# Readers of Delta tables pass over names that begin with an underscore.
_FILE = "_checks.json"


class Kept(BaseModel):
    """A report, and what it depends on besides the version of its table."""

    model_config = ConfigDict(frozen=True)

    report: CheckReport
    rules: str
    """The settings that the checks followed."""
    others: Mapping[str, int | None]
    """Versions of the tables that it refers to; None for those that were not there."""
    values: Mapping[str, int]
    """Cells with a value, by column."""


def read_kept(folder: Path) -> Kept | None:
    """Give what is kept; None where there is nothing, or nothing that can be read."""
    try:
        return Kept.model_validate_json((folder / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def keep(folder: Path, kept: Kept) -> None:
    """Replace what is kept; a full or closed disk leaves it as it was."""
    new = folder / f"{_FILE}.{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):
        try:
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(kept.model_dump_json().encode())
            new.replace(folder / _FILE)
        finally:
            new.unlink(missing_ok=True)
