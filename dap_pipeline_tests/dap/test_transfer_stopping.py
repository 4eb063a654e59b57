from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dap_pipeline.dap.transfer import transfer
from dap_pipeline.errors import (
    CancelledError,
    UnreachableError,
)

from .fetching import BODY, Fetching
from .parts import Gauge, packed
from .scripted import Answer, ScriptedServer, Then, cut


@pytest.mark.parametrize("length", [len(BODY), None], ids=["measured", "unmeasured"])
def test_a_stop_wakes_who_waits_for_the_body(
    server: ScriptedServer, fetching: Fetching, length: int | None
) -> None:
    gauge = Gauge(40_000)
    server.on("/o", Answer(200, BODY[:40_000], {"ETag": '"one"'}, length, Then.STALL))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(
            transfer,
            fetching.http,
            fetching.url,
            fetching.file,
            on_bytes=gauge,
            stop=fetching.stop,
        )
        assert gauge.full.wait(60)
        asked = time.monotonic()
        fetching.stop.set()
        assert isinstance(future.exception(60), CancelledError)
        assert time.monotonic() - asked < 2.0
    assert fetching.file.read_bytes() == BODY[:40_000]


def test_who_was_stopped_while_the_answer_was_on_its_way_writes_nothing(
    server: ScriptedServer, fetching: Fetching
) -> None:
    gate, asked = threading.Event(), threading.Event()
    server.on("/o", cut(BODY, 40_000))
    with pytest.raises(UnreachableError):
        fetching.fetch()

    def late(_: object) -> Answer:
        asked.set()
        return Answer(200, packed(5_000, seed=3), {"ETag": '"two"'}, gate=gate)

    server.on("/o", late)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(fetching.fetch)
        assert asked.wait(60)
        fetching.stop.set()
        gate.set()
        assert isinstance(future.exception(60), CancelledError)
    assert fetching.file.read_bytes() == BODY[:40_000]
    assert fetching.etag.read_text() == '"one"'
