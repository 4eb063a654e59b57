"""Notes when DAP had nothing newer than a published version: the time of a small file, and more.

A table of which DAP has nothing new gets no new version: the note says up to which instant of DAP
that is known, and how often was asked from there on. It names the version by the instant of its
load, since versions of the same instant are of the same state.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path


@dataclass(frozen=True)
class Checked:
    """What is known of a version since its load."""

    until: datetime
    """DAP's instant up to which nothing came after the load."""
    times: int = 0
    """How often DAP was asked for what came after that instant, and had nothing."""
    at: datetime | None = None
    """When DAP last said so."""


def note(file: Path, load: datetime, until: datetime, ago: timedelta = timedelta()) -> None:
    """Note one more check for what is newer, which tells how it was so long ago.

    Args:
        file: where it is noted.
        load: instant of the load of the version.
        until: the instant up to which it is now known that nothing came.
        ago: how long ago that was so.
    """
    known, before = datetime.now(UTC) - ago, _noted(file)
    of, was = before or (load, Checked(load))
    # From a later instant on, nobody has asked yet.
    times = was.times + 1 if until == was.until else int(until == load)
    told = {"at": load.isoformat(), "until": until.isoformat(), "checks": times}
    draft = file.with_name(f"{file.name}-{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(told), "utf-8")
    last = max(known, was.at) if of == load and was.at is not None else known
    os.utime(draft, (known.timestamp(), last.timestamp()))
    draft.replace(file)


def check_of(file: Path, load: datetime) -> Checked:
    """Tell what is known of the version whose load has this instant."""
    of, found = _noted(file) or (load, Checked(load))
    return found if of == load else Checked(load)


def _noted(file: Path) -> tuple[datetime, Checked] | None:
    """Read the note and the instant of the load that it is about; None where there is none."""
    try:
        with file.open(encoding="utf-8") as opened:
            noted = json.load(opened)
            at = datetime.fromtimestamp(os.fstat(opened.fileno()).st_mtime, UTC)
        load = datetime.fromisoformat(noted["at"])
        # Before, such a note told of no other instant.
        until = datetime.fromisoformat(noted.get("until", noted["at"]))
        return load, Checked(until, int(noted["checks"]), at)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
