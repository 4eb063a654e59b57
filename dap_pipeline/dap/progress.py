"""What long work tells while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dap_pipeline.dap.models import TableName


class Stage(StrEnum):
    """Where a table is on its way."""

    QUEUED = "queued"
    WAITING = "waiting"
    RUNNING = "running"
    DOWNLOADING = "downloading"
    REWRITING = "rewriting"
    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True)
class Progress:
    """One table's progress; the byte total is what is known so far."""

    table: TableName
    stage: Stage
    job_id: str | None = None
    parts_done: int = 0
    parts: int = 0
    bytes_done: int = 0
    note: str = ""


Listener = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Listen to nothing."""


class PartCount:
    """Counts the parts and bytes of one job; bytes are counted from several threads."""

    def __init__(
        self, name: TableName, listener: Listener, *, job_id: str = "", parts: int = 0
    ) -> None:
        self.name = name
        self.listener = listener
        self.job_id = job_id
        self.parts = parts
        self.parts_done = 0
        self.bytes_done = 0
        self._lock = threading.Lock()

    def arrived(self, count: int) -> None:
        """Count bytes that were downloaded."""
        with self._lock:
            self.bytes_done += count
        self.tell(Stage.DOWNLOADING)

    def part_done(self) -> None:
        """Count a part that is here and whole."""
        self.parts_done += 1
        self.tell(Stage.DOWNLOADING)

    def tell(self, stage: Stage) -> None:
        """Tell the listener how far the job is."""
        self.listener(
            Progress(
                self.name,
                stage,
                job_id=self.job_id or None,
                parts_done=self.parts_done,
                parts=self.parts,
                bytes_done=self.bytes_done,
            )
        )
