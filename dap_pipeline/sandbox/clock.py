"""The clock of the service: real time plus an offset that tests and demos move forward."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path


class Clock:
    """Tells service time; an offset kept in `path` survives a restart."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._offset = timedelta()
        if path is not None and path.exists():
            self._offset = timedelta(seconds=json.loads(path.read_text())["offset_seconds"])

    def now(self) -> datetime:
        """Tell service time (UTC)."""
        return datetime.now(UTC) + self._offset

    def advance(self, delta: timedelta) -> datetime:
        """Move the clock forward and tell the new service time."""
        if delta < timedelta():
            raise ValueError("The clock of the service only moves forward.")
        with self._lock:
            self._offset += delta
            if self._path is not None:
                content = json.dumps({"offset_seconds": self._offset.total_seconds()})
                self._path.touch(mode=0o600)
                self._path.write_text(content)
        return self.now()


def instant_text(instant: datetime) -> str:
    """Write an instant as DAP does: ISO 8601 in UTC with `Z`, a fraction only if there is one."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
