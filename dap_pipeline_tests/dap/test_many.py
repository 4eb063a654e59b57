from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dap_pipeline.dap.many import ManyResult, for_each
from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.progress import Progress, Stage, silent
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    CancelledError,
    DapPipelineError,
    LoginRefusedError,
    ServerError,
    UnknownTableError,
)

NAMES = [TableName("canvas", f"table_{number:02d}") for number in range(12)]


def test_every_table_is_worked_on_and_has_its_result() -> None:
    result = for_each(
        NAMES, lambda name, _: name.table.upper(), parallel=4, listener=silent, stop=Stop()
    )
    assert result == ManyResult({name: name.table.upper() for name in NAMES}, {}, None)


def test_no_table_at_all_is_no_trouble() -> None:
    result = for_each([], lambda name, _: name, parallel=4, listener=silent, stop=Stop())
    assert result == ManyResult()


def test_so_many_tables_are_worked_on_at_once_and_no_more() -> None:
    together = threading.Barrier(4)
    lock = threading.Lock()
    at_once = most = 0

    def work(_: TableName, __: Stop) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        together.wait(60)
        with lock:
            at_once -= 1

    for_each(NAMES, work, parallel=4, listener=silent, stop=Stop())
    assert most == 4


def test_a_table_that_fails_stops_no_other_and_its_failure_names_it() -> None:
    told: list[Progress] = []

    def work(name: TableName, _: Stop) -> str:
        if name == NAMES[3]:
            raise ServerError("DAP is down")
        return name.table

    result = for_each(NAMES, work, parallel=2, listener=told.append, stop=Stop())
    assert set(result.results) == set(NAMES) - {NAMES[3]}
    assert str(result.failures[NAMES[3]]).startswith("canvas.table_03: DAP is down.")
    assert result.ended_by is None
    (failed,) = [p for p in told if p.stage is Stage.FAILED]
    assert failed.table == NAMES[3]
    assert "DAP is down" in failed.note
    assert sum(p.stage is Stage.QUEUED for p in told) == len(NAMES)


def test_a_failure_that_concerns_every_table_ends_the_rest_without_a_further_call() -> None:
    began: list[TableName] = []

    def work(name: TableName, _: Stop) -> None:
        began.append(name)
        if name == NAMES[2]:
            raise LoginRefusedError("wrong secret")

    result = for_each(NAMES, work, parallel=1, listener=silent, stop=Stop())
    assert began == NAMES[:3]
    assert isinstance(result.ended_by, LoginRefusedError)
    assert set(result.failures) == {NAMES[2]}


def test_tables_under_way_are_stopped_when_the_run_ends() -> None:
    together = threading.Barrier(3)

    def work(name: TableName, stop: Stop) -> None:
        together.wait(60)
        if name == NAMES[0]:
            raise LoginRefusedError("wrong secret")
        stop.wait(600.0)

    began = time.monotonic()
    result = for_each(NAMES[:3], work, parallel=3, listener=silent, stop=Stop())
    assert time.monotonic() - began < 60.0
    assert set(result.failures) == {NAMES[0]}
    assert result.results == {}


def test_a_stop_ends_the_work_soon_and_is_told() -> None:
    stop, inside = Stop(), threading.Event()
    ended: list[BaseException] = []

    def work(_: TableName, group: Stop) -> None:
        inside.set()
        try:
            group.wait(600.0)
        except CancelledError as error:
            ended.append(error)
            raise

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(for_each, NAMES, work, parallel=2, listener=silent, stop=stop)
        assert inside.wait(60)
        asked = time.monotonic()
        stop.set()
        assert isinstance(run.exception(60), CancelledError)
        assert time.monotonic() - asked < 3.0
    assert 1 <= len(ended) <= 2


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell lets what it starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_ends_the_work_soon() -> None:
    inside = threading.Event()
    ended: list[TableName] = []

    def work(name: TableName, group: Stop) -> None:
        inside.set()
        try:
            group.wait(600.0)
        except CancelledError:
            ended.append(name)
            raise

    def interrupt() -> None:
        assert inside.wait(60)
        _thread.interrupt_main()

    with ThreadPoolExecutor(1) as pool:
        interrupting = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            for_each(NAMES, work, parallel=2, listener=silent, stop=Stop())
        interrupting.result(60)
    assert len(ended) <= 2
    assert set(ended) <= set(NAMES[:2])


def test_a_listener_that_fails_at_the_start_leaves_no_work_behind() -> None:
    groups: list[Stop] = []
    begun = threading.Event()

    def work(_: TableName, group: Stop) -> None:
        groups.append(group)
        begun.set()
        group.wait(600.0)

    def listener(progress: Progress) -> None:
        if progress.table == NAMES[3]:
            assert begun.wait(60)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        for_each(NAMES, work, parallel=2, listener=listener, stop=Stop())
    assert all(group.is_set() for group in groups)


@pytest.mark.parametrize(
    "fault", [KeyError("x"), SystemExit(3), KeyboardInterrupt(), MemoryError()]
)
def test_a_fault_of_ours_fails_one_table_and_is_not_lost(fault: BaseException) -> None:
    def work(name: TableName, _: Stop) -> str:
        if name == NAMES[0]:
            raise fault
        return name.table

    result = for_each(NAMES, work, parallel=2, listener=silent, stop=Stop())
    assert len(result.results) == len(NAMES) - 1
    failure = result.failures[NAMES[0]]
    assert type(failure) is DapPipelineError
    assert f"canvas.table_00: unexpected {type(fault).__name__}" in str(failure)
    assert failure.__cause__ is fault


def test_a_table_that_was_stopped_is_neither_done_nor_failed() -> None:
    def work(name: TableName, _: Stop) -> str:
        if name == NAMES[0]:
            raise CancelledError("the run was stopped")
        if name == NAMES[1]:
            raise UnknownTableError("no such table")
        return name.table

    result = for_each(NAMES[:3], work, parallel=1, listener=silent, stop=Stop())
    assert set(result.results) == {NAMES[2]}
    assert set(result.failures) == {NAMES[1]}
    assert result.ended_by is None
