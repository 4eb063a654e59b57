"""What long work tells while it runs."""

from __future__ import annotations

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
