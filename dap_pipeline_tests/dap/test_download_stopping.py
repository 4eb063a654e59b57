from __future__ import annotations

import errno
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dap_pipeline.dap import download as download_module
from dap_pipeline.dap import stages as stages_module
from dap_pipeline.dap.http import Http
from dap_pipeline.dap.links import LinkBook
from dap_pipeline.dap.models import Format
from dap_pipeline.dap.patience import Patience
from dap_pipeline.dap.stages import Target
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.transfer import OnBytes, transfer
from dap_pipeline.errors import (
    CancelledError,
    NotFoundError,
    StorageError,
)

from .loads import BODY, Loads, await_threads, download_threads
from .parts import Gauge, packed
from .scripted import Answer, Seen, Then, cut, stored


def test_connections_are_bounded_over_all_tables(loads: Loads) -> None:
    together = threading.Barrier(3)
    lock = threading.Lock()
    at_once = most = 0

    def answer(_: Seen) -> Answer:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        together.wait(60)
        with lock:
            at_once -= 1
        return Answer(200, BODY)

    tables = [[f"{table}{number}" for number in range(6)] for table in "abc"]
    for name in itertools.chain(*tables):
        loads.object(name, answer)
    shared = loads.downloader(connections=3)
    with ThreadPoolExecutor(3) as pool:
        fetched = list(pool.map(lambda names: loads.fetch(names, shared), tables))
    assert [sorted(names) for names in fetched] == tables
    assert most == 3
    # As many again may be on their way through the decoders.
    assert len(download_threads()) <= 6


def test_one_failure_stops_the_others_and_nothing_is_written_after_it(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever waits for the head of an answer cannot be woken; so the wait for it is made short.
    monkeypatch.setattr(download_module, "_WIND_DOWN_SECONDS", 0.2)
    gate, gauge, asked = threading.Event(), Gauge(40_000), threading.Event()

    def reading(_: Seen) -> Answer:
        return cut(BODY, 40_000, Then.STALL)

    def late(_: Seen) -> Answer:
        asked.set()
        return Answer(200, BODY, {"ETag": '"one"'}, gate=gate)

    def gone(_: Seen) -> Answer:
        assert gauge.full.wait(60)
        assert asked.wait(60)
        return Answer(404, b"<Error/>")

    # Which objects the three connections are taken by is up to the threads; the fourth gets none.
    in_turn: Iterator[Callable[[Seen], Answer]] = iter([reading, late, gone])
    names = ["a", "b", "c", "d"]
    for name in names:
        loads.object(name, lambda seen: next(in_turn)(seen))
    shared = loads.downloader(connections=3)
    with pytest.raises(NotFoundError):
        loads.fetch(names, shared, gauge)
    after = loads.files()
    assert [len(file) for file in after.values() if file != b'"one"'] == [40_000]
    assert len(after) == 2
    gate.set()
    shared.close()
    await_threads()
    assert loads.files() == after
    assert sum(len(loads.asked(name)) for name in names) == 3


def test_a_full_disk_ends_the_others_while_the_caller_is_busy_with_what_has_arrived(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the caller asks for the next part, and so hears of the failure."""
    gauge, ended, gate = Gauge(len(BODY) + 40_000), threading.Event(), threading.Event()

    def fill(partial: Path) -> None:
        if ".00001." in partial.name:
            assert gauge.full.wait(60)
            raise OSError(errno.ENOSPC, "No space left on device")

    def see(http: Http, url: str, file: Path, *, on_bytes: OnBytes, stop: Stop) -> bool:
        try:
            return transfer(http, url, file, on_bytes=on_bytes, stop=stop)
        except CancelledError:
            ended.set()
            raise

    monkeypatch.setattr(stages_module, "sync", fill)
    monkeypatch.setattr(stages_module, "transfer", see)
    loads.object("first", stored(BODY))
    loads.object("full", Answer(200, packed(10), gate=gate))
    loads.object("long", cut(BODY, 40_000, Then.STALL))
    fetched = loads.fetching(["first", "full", "long"], on_bytes=gauge)
    assert next(fetched).object_id == "first"
    gate.set()
    assert ended.wait(60)
    with pytest.raises(StorageError, match="No space left"):
        next(fetched)


def test_a_stop_ends_the_fetch_soon_and_keeps_what_has_arrived(loads: Loads) -> None:
    gauge = Gauge(40_000)
    loads.object("o", cut(BODY, 40_000, Then.STALL))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(loads.fetch, ["o"], on_bytes=gauge)
        assert gauge.full.wait(60)
        asked = time.monotonic()
        loads.stop.set()
        assert isinstance(future.exception(60), CancelledError)
        assert time.monotonic() - asked < 2.0
    assert loads.files()[".00000.partial"] == BODY[:40_000]


def test_a_stop_while_waiting_between_tries_ends_the_fetch_soon(loads: Loads) -> None:
    sent = threading.Event()
    loads.object("o", Answer(503, b"", sent=sent))
    patience = Patience(first_wait=300.0, longest_wait=300.0)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(loads.fetch, ["o"], loads.downloader(patience=patience))
        assert sent.wait(60)
        asked = time.monotonic()
        loads.stop.set()
        assert isinstance(future.exception(60), CancelledError)
        assert time.monotonic() - asked < 2.0


def test_who_stops_listening_stops_the_download(loads: Loads) -> None:
    gauge = Gauge(len(BODY) + 40_000)
    loads.object("first", stored(BODY))
    loads.object("second", cut(BODY, 40_000, Then.STALL))

    arriving = loads.fetching(["first", "second"], loads.downloader(2), gauge)
    assert next(arriving).object_id == "first"
    assert gauge.full.wait(60)
    began = time.monotonic()
    arriving.close()  # type: ignore[attr-defined]  # a generator, as its docstring says
    assert time.monotonic() - began < 2.0
    assert not loads.stop.is_set()
    loads.downloaders[0].close()
    await_threads()


def test_a_stopped_table_does_not_disturb_another_over_the_same_connections(loads: Loads) -> None:
    gauge, stop = Gauge(40_000), Stop()
    loads.object("a", cut(BODY, 40_000, Then.STALL))
    shared = loads.downloader(connections=1)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(lambda: list(loads.fetching(["a"], shared, gauge, stop)))
        assert gauge.full.wait(60)
        stop.set()
        assert isinstance(future.exception(60), CancelledError)
    loads.object("b", stored(BODY))
    assert loads.fetch(["b"], shared) == ["b"]


class WaitingLinks(LinkBook):
    """Waits for the limit of link calls, at once or when a link has to be renewed."""

    def wait_at(self, what: str) -> threading.Event:
        self.waits, self.waiting = what == "first", threading.Event()
        return self.waiting

    def url(self, object_id: str, stop: Stop | None = None) -> str:
        if self.waits:
            assert stop is not None
            self.waiting.set()
            stop.wait(600.0)
        return super().url(object_id, stop)

    def forget(self, object_id: str) -> None:
        super().forget(object_id)
        self.waits = True


@pytest.mark.parametrize(("what", "objects"), [("first", 2), ("renewed", 1)])
def test_a_table_that_waits_for_its_links_keeps_nothing_from_the_others(
    loads: Loads, what: str, objects: int
) -> None:
    shared, stop = loads.downloader(connections=1), Stop()
    links = WaitingLinks(loads.client, ["a"], loads.stop)
    waiting = links.wait_at(what)
    loads.object("a", Answer(403, b"<Error/>"))
    loads.object("b", stored(BODY))

    def fetch() -> list[Target]:
        return list(
            shared.fetch(
                [loads.target("a", number) for number in range(objects)],
                links,
                Format.JSONL,
                on_bytes=lambda _: None,
                stop=stop,
            )
        )

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(fetch)
        try:
            assert waiting.wait(60)
            assert loads.fetch(["b"], shared) == ["b"]
        finally:
            stop.set()
        assert isinstance(future.exception(60), CancelledError)


def test_a_failure_ends_the_wait_for_links_of_the_same_table(
    loads: Loads,
) -> None:
    waiting = threading.Event()

    class SecondWaits(LinkBook):
        def url(self, object_id: str, stop: Stop | None = None) -> str:
            if object_id == "second":
                waiting.set()
                (stop or loads.stop).wait(600.0)
            return super().url(object_id, stop)

    def gone(_: Seen) -> Answer:
        assert waiting.wait(60)
        return Answer(404, b"<Error/>")

    loads.object("first", gone)
    links = SecondWaits(loads.client, ["first", "second"], loads.stop)
    targets = [loads.target(name, number) for number, name in enumerate(["first", "second"])]
    with ThreadPoolExecutor(1) as pool:
        fetched = loads.downloader().fetch(
            targets, links, Format.JSONL, on_bytes=lambda _: None, stop=loads.stop
        )
        future = pool.submit(list, fetched)
        try:
            assert isinstance(future.exception(60), NotFoundError)
        finally:
            loads.stop.set()


def test_a_fault_of_the_listener_is_not_lost(loads: Loads) -> None:
    def listener(_: int) -> None:
        raise ZeroDivisionError

    loads.object("o", stored(BODY))
    with pytest.raises(ZeroDivisionError):
        loads.fetch(["o"], on_bytes=listener)
