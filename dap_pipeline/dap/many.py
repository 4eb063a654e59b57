"""Many tables at the same time; one that fails stops no other."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.progress import Listener, Progress, Stage
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.workers import Workers
from dap_pipeline.errors import CancelledError, DapPipelineError

T = TypeVar("T")

# How long tables that were told to stop are waited for.
_WIND_DOWN_SECONDS = 4.0


@dataclass
class ManyResult(Generic[T]):
    """What became of each table; a table in neither was not begun, or was stopped half way."""

    results: dict[TableName, T] = field(default_factory=dict)
    failures: dict[TableName, DapPipelineError] = field(default_factory=dict)
    ended_by: DapPipelineError | None = None
    """The failure that concerns every table, where there was one."""


def for_each(
    names: Sequence[TableName],
    work: Callable[[TableName, Stop], T],
    *,
    parallel: int,
    listener: Listener,
    stop: Stop,
) -> ManyResult[T]:
    """Do the work for every table, so many at a time.

    A failure of the kind that concerns every table (wrong credentials, a disabled account) ends
    the work: no further table is begun. Threads call ``work`` and ``listener``.

    Raises:
        CancelledError: a stop was asked for.
    """
    group = Stop(stop)
    ready: queue.SimpleQueue[tuple[TableName, T | DapPipelineError]] = queue.SimpleQueue()
    workers = Workers(min(parallel, max(len(names), 1)), "table")
    result: ManyResult[T] = ManyResult()
    left = 0

    def begin(name: TableName) -> None:
        workers.submit(lambda: ready.put((name, _outcome(name, work, group))))

    try:
        for name in names:
            listener(Progress(name, Stage.QUEUED))
            begin(name)
            left += 1
        while left:
            left -= _collect(ready, result, listener)
            stop.check()
    finally:
        group.set()
        _wind_down(ready, left)
        workers.close()
    return result


def _outcome(
    name: TableName, work: Callable[[TableName, Stop], T], group: Stop
) -> T | DapPipelineError:
    try:
        group.check()
        return work(name, group)
    except DapPipelineError as error:
        if error.ends_run and not isinstance(error, CancelledError):
            # Here and not where it is collected: by then this thread has begun the next table.
            group.set()
        return error.at(name.namespace, name.table)
    except BaseException as error:  # a fault of ours in one table must not stop the others
        failure = DapPipelineError(f"unexpected {type(error).__name__}: {error}")
        failure.__cause__ = error
        return failure.at(name.namespace, name.table)


def _collect(
    ready: queue.SimpleQueue[tuple[TableName, T | DapPipelineError]],
    result: ManyResult[T],
    listener: Listener,
) -> int:
    """Take in what has become of one table; 0 when none is ready yet."""
    try:
        name, outcome = ready.get(timeout=0.5)
    except queue.Empty:
        return 0
    if not isinstance(outcome, DapPipelineError):
        result.results[name] = outcome
    elif not isinstance(outcome, CancelledError):
        result.failures[name] = outcome
        listener(Progress(name, Stage.FAILED, note=str(outcome)))
        if outcome.ends_run and result.ended_by is None:
            result.ended_by = outcome
    return 1


def _wind_down(ready: queue.SimpleQueue[tuple[TableName, T | DapPipelineError]], left: int) -> None:
    end = time.monotonic() + _WIND_DOWN_SECONDS
    try:
        for _ in range(left):
            ready.get(timeout=max(end - time.monotonic(), 0.0))
    except queue.Empty:
        return
