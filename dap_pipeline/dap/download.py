"""Downloads a job's objects, several at the same time, each to a file that is whole.

Each file goes through two stages (`stages.py`): one of the connections, then one of the decoders.
As many files as there are connections may be on their way through the decoders, then the
connections wait too.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from dap_pipeline.dap.http import Http
from dap_pipeline.dap.links import LinkBook
from dap_pipeline.dap.models import Format
from dap_pipeline.dap.patience import Patience
from dap_pipeline.dap.shared import SharedPlaces
from dap_pipeline.dap.stages import Order, Stages, Target
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.transfer import OnBytes
from dap_pipeline.dap.workers import Places, Workers
from dap_pipeline.errors import CancelledError, DapPipelineError
from dap_pipeline.settings import Verify

# How long a stopped download is waited for: its threads are woken, so they end at once.
_WIND_DOWN_SECONDS = 3.0

_Ready = queue.SimpleQueue[Target | BaseException]
"""What has become of the targets, in the order in which it came about."""


class Downloader:
    """Downloads for any number of tables over a bounded number of connections.

    Args:
        http: opens the connections.
        connections: how many at the same time.
        verify: how closely files are looked at.
        patience: how long a failing download is tried.
        shared: folder of the processes that have so many connections together.
    """

    def __init__(
        self,
        http: Http,
        *,
        connections: int,
        verify: Verify,
        patience: Patience,
        shared: Path | None = None,
    ) -> None:
        places: Places | SharedPlaces = Places(connections)
        if shared is not None:
            places = SharedPlaces(shared / "connections", connections)
        self._threads = 2 * connections
        self._workers = Workers(self._threads, "download")
        # Few threads of their own: each that has ever decoded Parquet keeps memory for the next.
        self._decoders = Workers(os.cpu_count() or 1, "decode")
        self._stages = Stages(http, places, self._decoders, verify, patience)

    def close(self) -> None:
        """Let the threads end."""
        self._workers.close()
        self._decoders.close()

    def fetch(
        self,
        targets: Sequence[Target],
        links: LinkBook,
        format: Format,
        *,
        on_bytes: OnBytes,
        stop: Stop,
        unpacked_later: bool = False,
    ) -> Generator[Target, None, None]:
        """Yield each target when its file is there and checked, in the order of arrival.

        The iterator must be exhausted or closed. Threads call ``on_bytes``. ``unpacked_later``: the
        caller unpacks gzip to its checksum, and fetches anew what is damaged.

        Raises:
            DapPipelineError: the first that ended one of the downloads; the others are stopped.
        """
        work = Stop(stop)
        order = Order(links, format, unpacked_later, on_bytes, work)
        ready: _Ready = queue.SimpleQueue()
        waiting = iter(targets)
        under_way = 0

        def submit_next() -> int:
            target = next(waiting, None)
            if target is None:
                return 0
            self._submit(target, order, ready)
            return 1

        try:
            # A few at a time, so that a table of many parts does not keep the others waiting.
            for _ in range(self._threads):
                under_way += submit_next()
            while under_way:
                outcome = _next_of(ready, stop)
                under_way -= 1
                if isinstance(outcome, CancelledError) and not stop.is_set():
                    continue  # it gave way to a failure that is on its way here
                if isinstance(outcome, BaseException):
                    raise outcome
                under_way += submit_next()
                yield outcome
        finally:
            work.set()
            _drain(ready, under_way)

    def _submit(self, target: Target, order: Order, ready: _Ready) -> None:
        try:
            # Here, so that no thread is kept from others while the call waits for its turn.
            order.links.url(target.object_id, order.stop)
        except DapPipelineError as error:  # as if the thread had met it
            order.stop.set()
            ready.put(error)
        else:
            self._workers.submit(lambda: ready.put(self._outcome(target, order)))

    def _outcome(self, target: Target, order: Order) -> Target | BaseException:
        try:
            order.stop.check()
            self._stages.bring(target, order)
        except BaseException as error:  # handed to the thread that waits for it
            # At once: that thread may be at work on what has arrived before.
            order.stop.set()
            return error
        return target


def _next_of(ready: _Ready, stop: Stop) -> Target | BaseException:
    while True:
        try:
            return ready.get(timeout=0.5)
        except queue.Empty:
            stop.check()


def _drain(ready: _Ready, under_way: int) -> None:
    """Wait for the threads of a stopped download, so that none writes after its end."""
    end = time.monotonic() + _WIND_DOWN_SECONDS
    try:
        for _ in range(under_way):
            ready.get(timeout=max(end - time.monotonic(), 0.0))
    except queue.Empty:
        return
