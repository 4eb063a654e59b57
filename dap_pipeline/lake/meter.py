"""Counts what one load does, and tells its listener."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar

from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.progress import Listener, PartCount
from dap_pipeline.lake.records import LoadResult, Outcome, PublishedTable

T = TypeVar("T")
Phase = Literal["waiting", "downloading", "rewriting"]


class Meter(PartCount):
    """The counts of one load, with the seconds that each phase took."""

    def __init__(self, name: TableName, listener: Listener) -> None:
        super().__init__(name, listener)
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def timing(self, phase: Phase) -> Iterator[None]:
        """Count the seconds of the block for the phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[phase] += time.monotonic() - began

    def timed(self, phase: Phase, items: Iterable[T]) -> Iterator[T]:
        """Count the seconds spent waiting for each item."""
        iterator = iter(items)
        while True:
            with self.timing(phase):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def result(
        self, outcome: Outcome, table: PublishedTable, previous_rows: int | None, *, objects: int
    ) -> LoadResult:
        """Sum up."""
        return LoadResult(
            outcome=outcome,
            table=table,
            previous_rows=previous_rows,
            objects=objects,
            downloaded_bytes=self.bytes_done,
            seconds_waiting=self._seconds["waiting"],
            seconds_downloading=self._seconds["downloading"],
            seconds_rewriting=self._seconds["rewriting"],
        )
