"""Downloads a job's objects, several at the same time, each to a file that is whole.

A file gets its name only after it was checked; until then it is ``.NNNNN.partial`` beside it. So a
download that was interrupted goes on where it stopped, also in another process.

A file goes through two stages: one of the connections, then one of the decoders, which have decoded
what they could while it arrived. While some files are decoded, the connections fetch others; as
many files as there are connections may be on their way through the decoders, then the connections
wait too.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dap_pipeline.dap.arriving import Look
from dap_pipeline.dap.disk import sync
from dap_pipeline.dap.http import Http
from dap_pipeline.dap.links import LinkBook
from dap_pipeline.dap.models import Format
from dap_pipeline.dap.patience import Patience, Tries
from dap_pipeline.dap.shared import SharedPlaces
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.transfer import OnBytes, discard, transfer
from dap_pipeline.dap.workers import Places, Workers
from dap_pipeline.errors import (
    CancelledError,
    DamagedObjectError,
    DapPipelineError,
    LinkExpiredError,
    StorageError,
)
from dap_pipeline.settings import Verify

# How long a stopped download is waited for: its threads are woken, so they end at once.
_WIND_DOWN_SECONDS = 3.0


@dataclass(frozen=True)
class Target:
    """An object of a job and the file that it becomes."""

    index: int
    object_id: str
    path: Path

    @property
    def partial(self) -> Path:
        """Where bytes are gathered until the file is whole."""
        return self.path.with_name(f".{self.index:05d}.partial")


@dataclass(frozen=True)
class _Order:
    """What one call of ``fetch`` asks for."""

    links: LinkBook
    format: Format
    unpacked_later: bool
    on_bytes: OnBytes
    stop: Stop


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
        self._http = http
        self._verify = verify
        self._patience = patience
        self._connections: Places | SharedPlaces = Places(connections)
        if shared is not None:
            self._connections = SharedPlaces(shared / "connections", connections)
        self._threads = 2 * connections
        self._workers = Workers(self._threads, "download")
        # Few threads of their own: each that has ever decoded Parquet keeps memory for the next.
        self._decoders = Workers(os.cpu_count() or 1, "decode")

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
        order = _Order(links, format, unpacked_later, on_bytes, work)
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

    def _submit(self, target: Target, order: _Order, ready: _Ready) -> None:
        try:
            # Here, so that no thread is kept from others while the call waits for its turn.
            order.links.url(target.object_id, order.stop)
        except DapPipelineError as error:  # as if the thread had met it
            order.stop.set()
            ready.put(error)
        else:
            self._workers.submit(lambda: ready.put(self._outcome(target, order)))

    def _outcome(self, target: Target, order: _Order) -> Target | BaseException:
        try:
            order.stop.check()
            self._fetch(target, order)
        except BaseException as error:  # handed to the thread that waits for it
            # At once: that thread may be at work on what has arrived before.
            order.stop.set()
            return error
        return target

    def _fetch(self, target: Target, order: _Order) -> None:
        """Try until the file is whole; what arrives in between starts the patience anew."""
        tries = self._patience.tries()
        most = _size(target.partial)
        while True:
            try:
                self._fetch_once(target, order, tries)
            except LinkExpiredError as error:
                order.links.forget(target.object_id)
                tries.failed(error)
            except DapPipelineError as error:
                if not error.retryable:
                    raise
                arrived = _size(target.partial)
                # Damage has its own count; to find it took a whole download.
                if arrived > most or isinstance(error, DamagedObjectError):
                    tries = tries.anew()
                most = max(arrived, most)
                tries.failed(error)
            except OSError as error:
                raise StorageError(
                    f"{target.path.parent} cannot be written: {error.strerror or error}"
                ) from error
            else:
                return
            order.stop.wait(tries.wait())

    def _fetch_once(self, target: Target, order: _Order, tries: Tries) -> None:
        partial, stop = target.partial, order.stop
        closely = self._closely(order, measured=True)
        look = Look(partial, order.format, closely, self._decoders, stop)

        def arrived(count: int) -> None:
            order.on_bytes(count)
            look.arrived(count)

        with contextlib.closing(look):
            # Once before, so that no connection is kept while the call for a new link waits for its
            # turn; the place may then come so late that the link has to be renewed once more.
            order.links.url(target.object_id, stop)
            queued = time.monotonic()
            with self._connections.taken(stop), _stopping_the_others(stop):
                tries.excuse(time.monotonic() - queued)
                stop.check()
                url = order.links.url(target.object_id, stop)
                measured = transfer(self._http, url, partial, on_bytes=arrived, stop=stop)
            look.finish(self._closely(order, measured=measured))
        stop.check()
        # Before it has its name: what is there after a power failure counts as whole.
        sync(partial)
        partial.replace(target.path)
        discard(partial)

    def _closely(self, order: _Order, *, measured: bool) -> Verify:
        """Say how close to look, given whether the store has told the length."""
        if order.unpacked_later and order.format is not Format.PARQUET:
            return Verify.SIZE
        return self._verify if measured else Verify.FULL


@contextlib.contextmanager
def _stopping_the_others(stop: Stop) -> Iterator[None]:
    """Stop the work at a failure that is final, before another file gets the connection."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, DapPipelineError) or not error.retryable:
            stop.set()
        raise


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


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
