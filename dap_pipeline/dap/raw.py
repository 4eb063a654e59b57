"""Fetches a query's files as DAP made them, laid out as the official client does.

::

    <output>/job_<id>/<file>

A file that is there already is decoded once more instead of fetched again: another program may
have left it half written under the same name.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.disk import make_private
from dap_pipeline.dap.download import Downloader
from dap_pipeline.dap.jobs import JobRunner
from dap_pipeline.dap.links import LinkBook
from dap_pipeline.dap.locking import file_lock
from dap_pipeline.dap.models import CompleteJob, Format, Query, TableName
from dap_pipeline.dap.names import file_names, job_folder_name
from dap_pipeline.dap.progress import Listener, PartCount, Stage
from dap_pipeline.dap.stages import Target
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.verify import verify_whole
from dap_pipeline.errors import (
    DamagedObjectError,
    DapPipelineError,
    NotFoundError,
    StorageError,
)

_SUFFIX = {
    Format.CSV: ".csv.gz",
    Format.JSONL: ".jsonl.gz",
    Format.PARQUET: ".parquet",
    Format.TSV: ".tsv.gz",
}


@dataclass(frozen=True)
class FetchedFiles:
    """The files of one job."""

    job: CompleteJob
    folder: Path
    files: tuple[Path, ...]
    bytes: int
    fetched: int
    """How many of the files were fetched now; the others were there."""


class RawFetcher:
    """Fetches the files of queries; safe to use from several threads at once.

    Args:
        client: gives the links.
        runner: runs the queries.
        downloader: fetches the objects.
        output: folder of the job folders.
        locks: folder of lock files, outside the output so that only data lies there.
    """

    def __init__(
        self,
        client: DapClient,
        runner: JobRunner,
        downloader: Downloader,
        *,
        output: Path,
        locks: Path,
    ) -> None:
        self._client = client
        self._runner = runner
        self._downloader = downloader
        self._output = output
        self._locks = locks

    def fetch(
        self, name: TableName, query: Query, *, listener: Listener, stop: Stop
    ) -> FetchedFiles:
        """Run the query and fetch its files.

        Raises:
            DapPipelineError: the table failed; what arrived whole is kept.
        """
        try:
            return self._again_if_lost(name, query, listener, stop)
        except DapPipelineError as error:
            raise error.at(name.namespace, name.table) from None
        except OSError as error:
            raise StorageError(f"{self._output} cannot be written: {error.strerror or error}").at(
                name.namespace, name.table
            ) from error

    def _again_if_lost(
        self, name: TableName, query: Query, listener: Listener, stop: Stop
    ) -> FetchedFiles:
        """Begin once more when the job's objects vanish before they are all here."""
        try:
            return self._fetch_once(name, query, listener, stop)
        except NotFoundError as error:
            if error.kind != "object":
                raise
            return self._fetch_once(name, query, listener, stop)

    def _fetch_once(
        self, name: TableName, query: Query, listener: Listener, stop: Stop
    ) -> FetchedFiles:
        job = self._runner.run(name, query, listener=listener, stop=stop)
        folder = self._output / job_folder_name(job.id)
        make_private(self._locks)
        lock = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:32]
        try:
            with file_lock(self._locks / f"{lock}.lock", stop):
                return self._fill(folder, name, job, query.format, listener, stop)
        except DapPipelineError as error:
            raise error.at(job_id=job.id) from None

    def _fill(
        self,
        folder: Path,
        name: TableName,
        job: CompleteJob,
        format: Format,
        listener: Listener,
        stop: Stop,
    ) -> FetchedFiles:
        self._output.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        links = LinkBook(self._client, [ref.id for ref in job.objects], stop)
        targets = _targets(folder, links, job, format)
        progress = PartCount(name, listener, job_id=job.id, parts=len(targets))
        missing = [t for t in targets if not self._is_whole(t, format, progress, stop)]
        arriving = self._downloader.fetch(
            missing, links, format, on_bytes=progress.arrived, stop=stop
        )
        for _ in arriving:
            progress.part_done()
        progress.tell(Stage.DONE if missing or not targets else Stage.UNCHANGED)
        files = tuple(t.path for t in targets)
        return FetchedFiles(job, folder, files, sum(f.stat().st_size for f in files), len(missing))

    def _is_whole(self, target: Target, format: Format, progress: PartCount, stop: Stop) -> bool:
        """Tell whether the file is there and whole, whoever wrote it."""
        if not target.path.exists():
            return False
        with contextlib.suppress(DamagedObjectError):
            verify_whole(target.path, format, stop)
            progress.part_done()
            return True
        return False


def _targets(folder: Path, links: LinkBook, job: CompleteJob, format: Format) -> Sequence[Target]:
    urls = links.urls()
    ids = [ref.id for ref in job.objects]
    names = file_names([urls[object_id] for object_id in ids], _SUFFIX[format])
    return [
        Target(index, object_id, folder / name)
        for index, (object_id, name) in enumerate(zip(ids, names, strict=True))
    ]
