"""Brings a job's parts here and writes them as tidy Parquet, both at the same time.

While some parts arrive, those that are here are rewritten, a batch at a time.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.download import Downloader
from dap_pipeline.dap.links import LinkBook
from dap_pipeline.dap.models import Format
from dap_pipeline.dap.progress import Stage
from dap_pipeline.dap.stages import Target
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.verify import verify_whole
from dap_pipeline.errors import DamagedObjectError, MisfitError
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.meter import Meter
from dap_pipeline.lake.planning import Answer
from dap_pipeline.lake.rewriting.rewrite import RewriteOptions, WrittenFile, rewrite
from dap_pipeline.settings import SourceFormat

# Bytes of parts that become one file: large enough for good row groups, small enough that
# rewriting begins while most of a large table is still on its way.
BATCH_BYTES = 64 << 20

_LOG = logging.getLogger(__name__)

_SUFFIX = {Format.PARQUET: ".parquet", Format.JSONL: ".jsonl.gz"}


@dataclass(frozen=True)
class Workshop:
    """What writing Parquet may use, over all loads of this process."""

    memory: str
    threads: int
    rewrites: int
    """Rewrites and merges at the same time, each with its own memory and threads."""
    mask_key: SecretStr
    _turns: list[threading.BoundedSemaphore] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._turns.append(threading.BoundedSemaphore(self.rewrites))

    @contextlib.contextmanager
    def turn(self, folder: Path, name: str, meter: Meter | None = None) -> Iterator[RewriteOptions]:
        """Wait for a turn, and lend what may be used; spilled data goes below the folder."""
        with contextlib.ExitStack() as stack:
            if meter is not None:
                meter.tell(Stage.REWRITING)
            stack.enter_context(self._turns[0])
            if meter is not None:
                stack.enter_context(meter.timing("rewriting"))
            yield RewriteOptions(
                memory=self.memory,
                threads=self.threads,
                temp_dir=folder / f"{name}.spill",
                mask_key=self.mask_key,
            )


@dataclass(frozen=True)
class _Order:
    """What one call of ``tidy_files`` asks for."""

    answer: Answer
    shape: TableShape
    meter: Meter
    stop: Stop


class Fetcher:
    """Fetches and rewrites the parts of one job at a time; safe to use from several threads."""

    def __init__(
        self,
        client: DapClient,
        downloader: Downloader,
        workshop: Workshop,
    ) -> None:
        self._client = client
        self._downloader = downloader
        self._workshop = workshop

    def tidy_files(
        self,
        answer: Answer,
        shape: TableShape,
        folder: Path,
        meter: Meter,
        stop: Stop,
    ) -> list[WrittenFile]:
        """Fetch the parts into the folder and write them as tidy files below it.

        Raises:
            NotFoundError: an object of the job is gone.
            DownloadError: a part could not be fetched.
            MisfitError: a part does not fit the shape.
            StorageError: the disk is full or may not be written.
        """
        tidy = folder / "tidy"
        # Files of an earlier try may stem from other settings; the parts are what costs time.
        shutil.rmtree(tidy, ignore_errors=True)
        tidy.mkdir(mode=0o700)
        meter.tell(Stage.DOWNLOADING)
        suffix = _SUFFIX[answer.format]
        targets = [
            Target(index, ref.id, folder / f"part-{index:05d}{suffix}")
            for index, ref in enumerate(answer.job.objects)
        ]
        order = _Order(answer, shape, meter, stop)
        # Closed at once when a rewrite fails: the downloads must end with it.
        with contextlib.closing(self._arriving(targets, order)) as arriving:
            return [
                self._rewrite_whole(batch, order, tidy / f"{number:05d}.parquet")
                for number, batch in enumerate(_batches(arriving))
            ]

    def _arriving(self, targets: list[Target], order: _Order) -> Generator[Target, None, None]:
        """Yield the job's parts as they arrive; first those that an earlier try has left."""
        here = [t for t in targets if t.path.exists()]
        missing = [t for t in targets if not t.path.exists()]
        for target in here:
            order.meter.part_done()
            yield target
        if missing:
            # Text is unpacked by the rewrite anyway: it need not be unpacked here only to look.
            with contextlib.closing(self._fetch(missing, order, unpacked_later=True)) as arriving:
                for target in order.meter.timed("downloading", arriving):
                    order.meter.part_done()
                    yield target

    def _fetch(
        self, targets: list[Target], order: _Order, *, unpacked_later: bool
    ) -> Generator[Target, None, None]:
        return self._downloader.fetch(
            targets,
            LinkBook(self._client, [t.object_id for t in targets], order.stop),
            order.answer.format,
            on_bytes=order.meter.arrived,
            stop=order.stop,
            unpacked_later=unpacked_later,
        )

    def _rewrite_whole(self, batch: list[Target], order: _Order, target: Path) -> WrittenFile:
        """Rewrite parts; if that fails and some of them are damaged, fetch these once more."""
        try:
            return self._rewrite(batch, order, target)
        except MisfitError:
            damaged = [t for t in batch if not _is_whole(t.path, order)]
            if not damaged:
                raise
        for part in damaged:
            _LOG.warning("%s: %s is damaged; fetching it again", order.meter.name, part.path.name)
            part.path.unlink()
        with contextlib.closing(self._fetch(damaged, order, unpacked_later=False)) as arriving:
            for _ in arriving:
                pass
        return self._rewrite(batch, order, target)

    def _rewrite(self, batch: list[Target], order: _Order, target: Path) -> WrittenFile:
        source = SourceFormat(order.answer.format.value)
        parts = [part.path for part in batch]
        with self._workshop.turn(target.parent, target.stem, order.meter) as options:
            return rewrite(
                parts,
                order.shape,
                source=source,
                kind=order.answer.kind,
                target=target,
                options=options,
            )


def _is_whole(part: Path, order: _Order) -> bool:
    try:
        verify_whole(part, order.answer.format, order.stop)
    except DamagedObjectError:
        return False
    return True


def _batches(parts: Iterator[Target]) -> Iterator[list[Target]]:
    """Gather parts until they are worth a file."""
    batch: list[Target] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += part.path.stat().st_size
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
