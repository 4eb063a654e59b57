"""Notes when DAP had nothing newer than a watermark: the time of a small file, and how often.

It is the watermark and not the version, since a version may have that of the one before.
"""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta
from pathlib import Path


def note(file: Path, watermark: datetime, ago: timedelta = timedelta()) -> None:
    """Note one more check for what is newer, which tells how it was so long ago."""
    checks = count(file, watermark)
    text = json.dumps({"at": watermark.isoformat(), "checks": checks + 1})
    draft = file.with_name(f"{file.name}-{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text, "utf-8")
    if ago:
        known = time.time() - ago.total_seconds()
        last = file.stat().st_mtime if checks else known
        os.utime(draft, (known, max(known, last)))
    draft.replace(file)


def count(file: Path, watermark: datetime) -> int:
    """Tell how often there was a check for what is newer."""
    try:
        noted = json.loads(file.read_text("utf-8"))
        return int(noted["checks"]) if noted["at"] == watermark.isoformat() else 0
    except (OSError, ValueError, KeyError, TypeError):
        # None yet, or of before checks were counted.
        return 0
