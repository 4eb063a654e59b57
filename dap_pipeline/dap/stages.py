"""The two stages of one file, on one page: a connection fetches it, then a decoder looks at it.

While the file of a connection is decoded, the connection fetches another one. A file gets its name
only after it was checked; until then it is ``.NNNNN.partial`` beside it, and so a download that was
interrupted goes on where it stopped, also in another process.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
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
    DamagedObjectError,
    DapPipelineError,
    LinkExpiredError,
    StorageError,
)
from dap_pipeline.settings import Verify


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
class Order:
    """What the files of one call of ``Downloader.fetch`` have in common."""

    links: LinkBook
    format: Format
    unpacked_later: bool
    """Whether the caller unpacks gzip to its checksum, and fetches anew what is damaged."""
    on_bytes: OnBytes
    stop: Stop


@dataclass(frozen=True)
class Stages:
    """What files go through; safe to use from several threads."""

    http: Http
    connections: Places | SharedPlaces
    decoders: Workers
    verify: Verify
    patience: Patience

    def bring(self, target: Target, order: Order) -> None:
        """Try until the file is whole; what arrives in between starts the patience anew.

        Raises:
            DapPipelineError: it cannot be had, or not in time.
            CancelledError: a stop was asked for meanwhile.
        """
        tries = self.patience.tries()
        most = _size(target.partial)
        while True:
            try:
                self._bring_once(target, order, tries)
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

    def _bring_once(self, target: Target, order: Order, tries: Tries) -> None:
        partial, stop = target.partial, order.stop
        closely = self._closely(order, measured=True)
        look = Look(partial, order.format, closely, self.decoders, stop)

        def arrived(count: int) -> None:
            order.on_bytes(count)
            look.arrived(count)

        with contextlib.closing(look):
            # Once before, so that no connection is kept while the call for a new link waits for its
            # turn; the place may then come so late that the link has to be renewed once more.
            order.links.url(target.object_id, stop)
            queued = time.monotonic()
            with self.connections.taken(stop), _stopping_the_others(stop):
                tries.excuse(time.monotonic() - queued)
                stop.check()
                url = order.links.url(target.object_id, stop)
                measured = transfer(self.http, url, partial, on_bytes=arrived, stop=stop)
            look.finish(self._closely(order, measured=measured))
        stop.check()
        # Before it has its name: what is there after a power failure counts as whole.
        sync(partial)
        partial.replace(target.path)
        discard(partial)

    def _closely(self, order: Order, *, measured: bool) -> Verify:
        """Say how close to look, given whether the store has told the length."""
        if order.unpacked_later and order.format is not Format.PARQUET:
            return Verify.SIZE
        return self.verify if measured else Verify.FULL


@contextlib.contextmanager
def _stopping_the_others(stop: Stop) -> Iterator[None]:
    """Stop the work at a failure that is final, before another file gets the connection."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, DapPipelineError) or not error.retryable:
            stop.set()
        raise


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
