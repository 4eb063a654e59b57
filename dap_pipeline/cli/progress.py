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
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from dap_pipeline.cli.common import Globals, bytes_text, files_text
from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.progress import Listener, Progress, Stage, silent

_ENDED = (Stage.DONE, Stage.UNCHANGED, Stage.FAILED)
_SHOWN = (Stage.WAITING, Stage.RUNNING, Stage.DOWNLOADING, Stage.REWRITING)


@contextlib.contextmanager
def showing(choices: Globals, total: int, *, starts_jobs: bool = True) -> Iterator[Listener]:
    """Give a listener that shows progress while the block runs."""
    per_minute = choices.settings().creates_per_minute if starts_jobs else 0
    if 0 < per_minute < total:
        choices.say(
            f"DAP allows {per_minute} job starts a minute: {total} tables take at least "
            f"{(total - 1) // per_minute} minutes."
        )
    if choices.quiet:
        yield silent
    elif choices.console.is_terminal:
        with _Board(choices.console, total, per_minute) as board:
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
            return f"downloading {files_text(progress.parts)} (job {progress.job_id})"
        case Stage.DONE:
            return f"done, {files_text(progress.parts)}, {bytes_text(progress.bytes_done)} fetched"
        case Stage.FAILED:
            return "failed: " + progress.note.removeprefix(f"{progress.table}: ")
        case stage:
            return stage.value


class _Board:
    """A line for all tables and one for each that is under way."""

    def __init__(self, console: Console, total: int, per_minute: int) -> None:
        self._total = total
        self._per_minute = per_minute
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Note(self),
            console=console,
            transient=True,
        )
        self._tasks: dict[TableName, TaskID] = {}
        self._state: dict[TableName, Progress] = {}
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._all = self._bars.add_task("tables", total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def hear(self, progress: Progress) -> None:
        with self._lock:
            self._state[progress.table] = progress
            self._show_table(progress)
            self._bars.update(self._all, completed=self._ended())

    def _show_table(self, progress: Progress) -> None:
        name = progress.table
        if progress.stage not in _SHOWN:
            if (task := self._tasks.pop(name, None)) is not None:
                self._bars.remove_task(task)
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(str(name), total=None)
        self._bars.update(
            self._tasks[name], total=progress.parts or None, completed=progress.parts_done
        )

    def _ended(self) -> int:
        return sum(p.stage in _ENDED for p in self._state.values())

    def note(self, task: TaskID) -> str:
        """Say in words how a line stands now."""
        with self._lock:
            if task == self._all:
                return self._overall()
            name = next((n for n, t in self._tasks.items() if t == task), None)
            if name is None:
                return ""
            progress = self._state[name]
            return f"{progress.stage.value} {bytes_text(progress.bytes_done)}"

    def _overall(self) -> str:
        stages = Counter(p.stage for p in self._state.values())
        arrived = sum(p.bytes_done for p in self._state.values())
        elapsed = max(time.monotonic() - self._began, 0.001)
        counted = (Stage.QUEUED, *_SHOWN, Stage.FAILED)
        words = [f"{stages[s]} {s.value}" for s in counted if stages[s]]
        words.append(f"{bytes_text(arrived)}, {bytes_text(arrived / elapsed)}/s")
        ended = self._ended()
        if 0 < ended < self._total:
            left = elapsed / ended * (self._total - ended)
            # Those that wait for their job's start cannot be quicker than DAP allows.
            allowed = stages[Stage.QUEUED] * 60 / self._per_minute if self._per_minute else 0.0
            words.append(f"about {_duration(max(left, allowed))} left")
        return " · ".join(words)


class _Note(ProgressColumn):
    """The words at the end of a line, made anew whenever it is drawn."""

    def __init__(self, board: _Board) -> None:
        super().__init__()
        self._board = board

    def render(self, task: Task) -> Text:
        return Text(self._board.note(task.id))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
