"""Follows a run in this process by its log, and shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg
from dagster import DagsterEventType, EventLogEntry
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dap_pipeline.orchestration.naming import is_view

if TYPE_CHECKING:
    # What a failed step leaves in the log; Dagster does not export its name.
    from dagster._core.execution.plan.objects import StepFailureData

_LINES = 8
"""Lines that tell the progress where there is no terminal."""


@dataclass
class WatchedRun:
    """What the log of the run has told so far."""

    tables: int
    loaded: int = 0
    unchanged: int = 0
    registered: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Tables that were taken so far."""
        return self.loaded + self.unchanged

    def note(self, entry: EventLogEntry) -> None:
        """Take in an event of the log."""
        event = entry.dagster_event
        if event is None:
            return
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            self._count(event.step_materialization_data.materialization)
        elif event.event_type is DagsterEventType.STEP_FAILURE:
            self.failures[event.step_key or ""] = _words_of(event.step_failure_data)

    def _count(self, made: dg.AssetMaterialization) -> None:
        outcome = made.metadata.get("outcome")
        if outcome is None:
            # The picture of a namespace is made in the same step as the views of its tables.
            self.registered += is_view(made.asset_key)
        elif outcome.value == "unchanged":
            self.unchanged += 1
        else:
            self.loaded += 1


def _words_of(failure: StepFailureData) -> str:
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    if error is None:
        return "A table failed, and Dagster's log tells no reason."
    return (error.cause or error).message.strip()


@contextmanager
def progress_of(run: WatchedRun, console: Console) -> Iterator[Callable[[], None]]:
    """Give what to call when the run went on: it moves a bar on a terminal, else writes lines."""
    if not console.is_terminal:
        yield _LinesNowAndThen(run, console)
        return
    columns = (
        TextColumn("Loading tables"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("tables", total=run.tables)
        yield lambda: bars.update(bar, completed=run.done)


class _LinesNowAndThen:
    def __init__(self, run: WatchedRun, console: Console) -> None:
        self._run, self._console, self._told = run, console, 0

    def __call__(self) -> None:
        share = self._run.done * _LINES // max(self._run.tables, 1)
        if share > self._told:
            self._told = share
            self._console.print(f"{self._run.done} of {self._run.tables} tables")
