"""One table's load: job, parts, tidy Parquet, one commit.

Downloads and rewriting overlap: while some parts arrive, those that are here are rewritten, a batch
at a time. Nothing is published before every part is there and counted.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.download import Downloader, Target
from dap_pipeline.dap.jobs import JobRunner
from dap_pipeline.dap.links import LinkBook
from dap_pipeline.dap.models import CompleteSnapshot, Format, SnapshotQuery, TableName
from dap_pipeline.dap.progress import Listener, Stage
from dap_pipeline.dap.schema_book import SchemaBook
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    DapPipelineError,
    NotFoundError,
    StorageError,
    UnreadableAnswerError,
)
from dap_pipeline.lake.columns import TableShape, shape_of
from dap_pipeline.lake.meter import Meter
from dap_pipeline.lake.records import LoadKind, LoadResult, Outcome, PublishedTable
from dap_pipeline.lake.rewrite import RewriteOptions, WrittenFile, rewrite
from dap_pipeline.lake.staging import Staging
from dap_pipeline.lake.tables import Lake, NewLoad
from dap_pipeline.settings import SourceFormat

_LOG = logging.getLogger(__name__)

# Bytes of parts that become one file: large enough for good row groups, small enough that
# rewriting begins while most of a large table is still on its way.
BATCH_BYTES = 64 << 20

_SUFFIX = {SourceFormat.PARQUET: ".parquet", SourceFormat.JSONL: ".jsonl.gz"}


@dataclass(frozen=True)
class LoadOptions:
    """How tables are loaded; see the settings of the same names."""

    source: SourceFormat
    memory: str
    threads: int
    rewrites: int
    """Rewrites at the same time, each with its own memory and threads."""
    keep_versions: timedelta


class TableLoader:
    """Loads tables from DAP into the lake; safe to use from several threads at once."""

    def __init__(
        self,
        client: DapClient,
        lake: Lake,
        *,
        runner: JobRunner,
        downloader: Downloader,
        schemas: SchemaBook,
        staging: Staging,
        options: LoadOptions,
    ) -> None:
        self._client = client
        self._lake = lake
        self._runner = runner
        self._downloader = downloader
        self._schemas = schemas
        self._staging = staging
        self._options = options
        self._rewriting = threading.BoundedSemaphore(options.rewrites)

    def load(self, name: TableName, *, listener: Listener, stop: Stop) -> LoadResult:
        """Take a snapshot of the table and publish it, unless it is published already.

        Raises:
            DapPipelineError: the load failed and changed nothing; its text says what to do.
        """
        meter = Meter(name, listener)
        try:
            with self._staging.locked(name, stop):
                return self._load_again_if_lost(name, meter, stop)
        except DapPipelineError as error:
            raise error.at(name.namespace, name.table, meter.job_id or None) from None
        except OSError as error:
            raise StorageError(f"the data folder cannot be used: {error.strerror or error}").at(
                name.namespace, name.table, meter.job_id or None
            ) from error

    def _load_again_if_lost(self, name: TableName, meter: Meter, stop: Stop) -> LoadResult:
        """Begin once more when the job's objects vanish before they are all here."""
        try:
            return self._load_once(name, meter, stop)
        except NotFoundError as error:
            if error.kind != "object":
                raise
            self._staging.clear(name)
            return self._load_once(name, meter, stop)

    def _load_once(self, name: TableName, meter: Meter, stop: Stop) -> LoadResult:
        before = self._lake.table(name)
        with meter.timing("waiting"):
            job = self._run_job(name, meter, stop)
        if before is not None and _is_published(job, before):
            self._lake.confirm(name)
            meter.tell(Stage.UNCHANGED)
            self._staging.clear(name)
            return meter.result(Outcome.UNCHANGED, before, before.rows, objects=len(job.objects))
        shape = shape_of(self._schemas.schema(name, job.schema_version, stop))
        files = self._write_files(job, shape, meter, stop)
        stop.check()
        after = self._lake.publish(name, shape, files, _new_load(job, before))
        meter.tell(Stage.DONE)
        self._tidy_up(name)
        rows_before = None if before is None else before.rows
        return meter.result(Outcome.LOADED, after, rows_before, objects=len(job.objects))

    def _run_job(self, name: TableName, meter: Meter, stop: Stop) -> CompleteSnapshot:
        query = SnapshotQuery(Format(self._options.source.value))
        job = self._runner.run(name, query, listener=meter.listener, stop=stop)
        meter.job_id, meter.parts = job.id, len(job.objects)
        if not isinstance(job, CompleteSnapshot):
            raise UnreadableAnswerError("DAP answered a snapshot with an incremental job")
        return job

    def _write_files(
        self, job: CompleteSnapshot, shape: TableShape, meter: Meter, stop: Stop
    ) -> list[WrittenFile]:
        folder = self._staging.job_folder(meter.name, job.id)
        tidy = folder / "tidy"
        # Files of an earlier try may stem from other settings; the parts are what costs time.
        shutil.rmtree(tidy, ignore_errors=True)
        tidy.mkdir(mode=0o700)
        meter.tell(Stage.DOWNLOADING)
        # Closed at once when a rewrite fails: the downloads must end with it.
        with contextlib.closing(self._parts(job, folder, meter, stop)) as parts:
            return [
                self._rewrite(batch, shape, tidy / f"{number:05d}.parquet", meter)
                for number, batch in enumerate(_batches(parts))
            ]

    def _parts(
        self, job: CompleteSnapshot, folder: Path, meter: Meter, stop: Stop
    ) -> Generator[Path, None, None]:
        """Yield the job's parts as they arrive; first those that an earlier try has left."""
        suffix = _SUFFIX[self._options.source]
        targets = [
            Target(index, ref.id, folder / f"part-{index:05d}{suffix}")
            for index, ref in enumerate(job.objects)
        ]
        here = [t for t in targets if t.path.exists()]
        missing = [t for t in targets if not t.path.exists()]
        for target in here:
            meter.part_done()
            yield target.path
        if missing:
            links = LinkBook(self._client, [t.object_id for t in missing], stop)
            form = Format(self._options.source.value)
            arriving = self._downloader.fetch(
                missing, links, form, on_bytes=meter.arrived, stop=stop
            )
            with contextlib.closing(arriving):
                for target in meter.timed("downloading", arriving):
                    meter.part_done()
                    yield target.path

    def _rewrite(
        self, parts: list[Path], shape: TableShape, target: Path, meter: Meter
    ) -> WrittenFile:
        meter.tell(Stage.REWRITING)
        options = RewriteOptions(
            memory=self._options.memory,
            threads=self._options.threads,
            temp_dir=target.with_suffix(".spill"),
        )
        with self._rewriting, meter.timing("rewriting"):
            return rewrite(
                parts,
                shape,
                source=self._options.source,
                kind=LoadKind.SNAPSHOT,
                target=target,
                options=options,
            )

    def _tidy_up(self, name: TableName) -> None:
        """Remove what is no longer needed; the load is published whatever happens here."""
        self._staging.clear(name)
        try:
            self._lake.vacuum(name, self._options.keep_versions)
        except (DapPipelineError, OSError) as error:
            _LOG.warning("%s: old versions could not be removed: %s", name, error)


def _is_published(job: CompleteSnapshot, published: PublishedTable) -> bool:
    """Tell whether the job is the published state.

    DAP answers an identical query with the same job for 24 hours, and a new job with the same
    ``at`` when nothing was committed since: ``at`` identifies the table's state (API document).
    """
    load = published.load
    same_state = load.at == job.at and load.schema_version == job.schema_version
    return load.kind is LoadKind.SNAPSHOT and (load.job_id == job.id or same_state)


def _new_load(job: CompleteSnapshot, before: PublishedTable | None) -> NewLoad:
    return NewLoad(
        kind=LoadKind.SNAPSHOT,
        job_id=job.id,
        schema_version=job.schema_version,
        at=job.at,
        since=None,
        base_version=None if before is None else before.version,
    )


def _batches(parts: Iterator[Path]) -> Iterator[list[Path]]:
    """Gather parts until they are worth a file."""
    batch: list[Path] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += part.stat().st_size
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
