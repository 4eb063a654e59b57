"""Notes when DAP had nothing newer than a published version: the time of a small file, and more.

A table of which DAP has nothing new gets no new version: the note says up to which instant of DAP
that is known, and how often was asked from there on. It names the version by instant and job of its
load: an instant alone may be of two states, when a commit of DAP's became visible late.
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


@dataclass(frozen=True)
class Loaded:
    """What a note names a version by."""

    at: datetime
    job_id: str


def note(file: Path, load: Loaded, until: datetime, ago: timedelta = timedelta()) -> None:
    """Note one more check for what is newer, which tells how it was so long ago.

    Args:
        file: where it is noted.
        load: the load of the version.
        until: the instant up to which it is now known that nothing came.
        ago: how long ago that was so.
    """
    now = datetime.now(UTC)
    known, (of, was) = now - ago, _noted(file) or (load, Checked(load.at))
    # From a later instant on, nobody has asked yet.
    times = was.times + 1 if until == was.until else int(until == load.at)
    told = {
        "at": load.at.isoformat(),
        "job_id": load.job_id,
        "until": until.isoformat(),
        "checks": times,
    }
    draft = file.with_name(f"{file.name}-{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(told), "utf-8")
    # The clock may have been ahead.
    last = known if of != load or was.at is None else max(known, min(was.at, now))
    os.utime(draft, (known.timestamp(), last.timestamp()))
    draft.replace(file)


def check_of(file: Path, load: Loaded) -> Checked:
    """Tell what is known of the version that this load made."""
    of, found = _noted(file) or (load, Checked(load.at))
    if of == load:
        return found
    # Of another version, but from this instant on was asked all the same.
    return Checked(load.at, found.times if found.until == load.at else 0)


def _noted(file: Path) -> tuple[Loaded, Checked] | None:
    """Read the note and the load that it is about; None where there is none."""
    try:
        with file.open(encoding="utf-8") as opened:
            noted = json.load(opened)
            at = datetime.fromtimestamp(os.fstat(opened.fileno()).st_mtime, UTC)
        # Before, such a note told of no job and no other instant.
        load = Loaded(datetime.fromisoformat(noted["at"]), str(noted.get("job_id", "")))
        until = datetime.fromisoformat(noted.get("until", noted["at"]))
        return load, Checked(until, int(noted["checks"]), at)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
