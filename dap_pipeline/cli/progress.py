"""Shows how far many tables are: moving bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars

from dap_pipeline.cli.common import Globals, bytes_text
from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.progress import Listener, Progress, Stage, silent

_ENDED = (Stage.DONE, Stage.UNCHANGED, Stage.FAILED)
_SHOWN = (Stage.WAITING, Stage.RUNNING, Stage.DOWNLOADING, Stage.REWRITING)


@contextlib.contextmanager
def showing(choices: Globals, total: int, *, starts_jobs: bool = True) -> Iterator[Listener]:
    """Give a listener that shows progress while the block runs."""
    per_minute = choices.settings().creates_per_minute
    if starts_jobs and total > per_minute:
        choices.say(
            f"DAP allows {per_minute} job starts a minute: {total} tables take at least "
            f"{(total - 1) // per_minute} minutes."
        )
    if choices.quiet:
        yield silent
    elif choices.console.is_terminal:
        with _Board(choices.console, total) as board:
            yield board.hear
    else:
        yield _Lines(choices, total).hear


class _Lines:
    """One line when a table enters a stage."""

    def __init__(self, choices: Globals, total: int) -> None:
        self._choices = choices
        self._total = total
        self._lock = threading.Lock()
        self._stages: dict[TableName, Stage] = {}

    def hear(self, progress: Progress) -> None:
        with self._lock:
            if self._stages.get(progress.table) is progress.stage:
                return
            self._stages[progress.table] = progress.stage
            ended = sum(stage in _ENDED for stage in self._stages.values())
        if progress.stage in _ENDED:
            self._choices.say(f"[{ended}/{self._total}] {progress.table}: {_how(progress)}")
        elif progress.stage is not Stage.QUEUED and (
            self._choices.verbose or progress.stage is Stage.DOWNLOADING
        ):
            self._choices.say(f"{progress.table}: {_how(progress)}")


def _how(progress: Progress) -> str:
    match progress.stage:
        case Stage.DOWNLOADING:
            return f"downloading {progress.parts} files (job {progress.job_id})"
        case Stage.DONE:
            return f"done, {progress.parts} files, {bytes_text(progress.bytes_done)} fetched"
        case Stage.FAILED:
            return "failed: " + progress.note.removeprefix(f"{progress.table}: ")
        case stage:
            return stage.value


class _Board:
    """A line for all tables and one for each that is under way."""

    def __init__(self, console: Console, total: int) -> None:
        self._total = total
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self._all: TaskID = self._bars.add_task("tables", total=total, note="")
        self._tasks: dict[TableName, TaskID] = {}
        self._state: dict[TableName, Progress] = {}
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def hear(self, progress: Progress) -> None:
        with self._lock:
            self._state[progress.table] = progress
            self._show_table(progress)
            self._show_all()

    def _show_table(self, progress: Progress) -> None:
        name = progress.table
        if progress.stage not in _SHOWN:
            if (task := self._tasks.pop(name, None)) is not None:
                self._bars.remove_task(task)
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(str(name), total=None, note="")
        self._bars.update(
            self._tasks[name],
            total=progress.parts or None,
            completed=progress.parts_done,
            note=f"{progress.stage.value} {bytes_text(progress.bytes_done)}",
        )

    def _show_all(self) -> None:
        stages = Counter(p.stage for p in self._state.values())
        ended = sum(stages[stage] for stage in _ENDED)
        arrived = sum(p.bytes_done for p in self._state.values())
        elapsed = max(time.monotonic() - self._began, 0.001)
        words = [f"{stages[s]} {s.value}" for s in (*_SHOWN, Stage.FAILED) if stages[s]]
        words.append(f"{bytes_text(arrived)}, {bytes_text(arrived / elapsed)}/s")
        if 0 < ended < self._total:
            words.append(f"about {_duration(elapsed / ended * (self._total - ended))} left")
        self._bars.update(self._all, completed=ended, note=" · ".join(words))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
