"""The life of a job: waiting, running, complete or failed, and gone 24 hours after its start."""

from __future__ import annotations

import logging
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from . import errors
from .clock import Clock, instant_text
from .encode_parquet import ParquetTimestamps
from .errors import ApiError
from .interceptors import Interceptor
from .job_book import Failure, Job, JobBook, Result
from .parts import encoding, write_parts
from .queries import Query
from .selections import History, Selection, select_rows
from .store import Store, StoredTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobSettings:
    """How jobs behave.

    A job is complete when its work is done, `seconds` of service time have passed, and the client
    has asked `polls` times in vain after the answer that started it.
    """

    seconds: float = 0.0
    polls: int = 1
    rows_per_part: int = 25_000
    empty_part: bool = False
    history: History = field(default_factory=History)
    parquet_timestamps: ParquetTimestamps = ParquetTimestamps.MICROS
    workers: int = 2


class Jobs:
    """Starts, runs, shows and forgets jobs; their files lie in `folder/<job id>/`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        book: JobBook,
        folder: Path,
        settings: JobSettings,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._book = book
        self._folder = folder
        self._settings = settings
        self._interceptors = interceptors
        self._lock = threading.Lock()
        self._polls: Counter[str] = Counter()
        self._work: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="dap-job")
        folder.mkdir(mode=0o700, exist_ok=True)

    def resume(self) -> None:
        """Drop what has expired and take up the jobs that a stop of the service cut short."""
        self.forget_expired()
        for folder in self._folder.iterdir():
            if self._book.get(folder.name) is None:
                self._discard(folder.name)
        for job in self._book.unfinished():
            self._submit(job)

    def close(self) -> None:
        """Let running jobs end; waiting ones are taken up by the next start."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._book.close()

    def wait(self, job_id: str, timeout: float = 60.0) -> None:
        """Block until the work of a job is done, at most `timeout` seconds."""
        work = self._work.get(job_id)
        if work is not None:
            work.result(timeout)

    def request(
        self, table: StoredTable, query: Query, scope: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Answer `POST …/data` with status and body; raises ApiError 400 for a refused range.

        An identical query gets the job it already has. A failed job is not handed out again:
        clients of the real service report that asking anew helps.
        """
        with self._lock:
            self.forget_expired()
            known = self._book.find(table.namespace, table.name, scope, query)
            if known is not None and not isinstance(known.outcome, Failure):
                return self._show(known)
            self._select(table, query)
            job_id, now = str(uuid.uuid4()), self._clock.now()
            job = Job(job_id, table.namespace, table.name, query, now, scope)
            self._book.add(job)
            self._submit(job)
            return self._show(job)

    def look(self, job_id: str) -> tuple[int, dict[str, Any]]:
        """Answer `GET /job/{id}` with status and body; raises ApiError 404."""
        job = self._existing(job_id)
        if job is None:
            raise errors.not_found("job", job_id)
        return self._show(job)

    def file(self, object_id: str) -> Path | None:
        """Find the file of an object; None if there is none, or none any more."""
        job_id, _, name = object_id.partition("/")
        job = self._existing(job_id)
        if job is None or not isinstance(job.outcome, Result) or name not in job.outcome.files:
            return None
        return self._folder / job_id / name

    def forget_expired(self) -> None:
        """Remove the jobs whose time is over, with their files."""
        for job_id in self._book.remove_expired(self._clock.now()):
            self._discard(job_id)

    def _existing(self, job_id: str) -> Job | None:
        job = self._book.get(job_id)
        return job if job is not None and self._clock.now() < job.expires_at else None

    def _discard(self, job_id: str) -> None:
        shutil.rmtree(self._folder / job_id, ignore_errors=True)
        self._polls.pop(job_id, None)
        self._work.pop(job_id, None)

    def _show(self, job: Job) -> tuple[int, dict[str, Any]]:
        polls = self._polls[job.id]
        self._polls[job.id] += 1
        age = self._clock.now() - job.started_at
        body: dict[str, Any] = {"id": job.id, "expires_at": instant_text(job.expires_at)}
        early = age < timedelta(seconds=self._settings.seconds) or polls <= self._settings.polls
        if job.outcome is None or (early and job.id in self._work):
            return 202, {**body, "status": "running" if polls else "waiting"}
        return 200, {**body, **_outcome_body(job.id, job.outcome)}

    def _submit(self, job: Job) -> None:
        self._work[job.id] = self._pool.submit(self._run, job)

    def _run(self, job: Job) -> None:
        outcome = self._outcome(job)
        if not self._book.finish(job.id, outcome):
            self._discard(job.id)

    def _outcome(self, job: Job) -> Result | Failure:
        try:
            for interceptor in self._interceptors:
                interceptor.before_job(job)
            return self._produce(job)
        except ApiError as error:
            return Failure(**errors.processing(error.message).details())
        except Exception:
            logger.exception("Job %s failed.", job.id)
            return Failure(**errors.processing("The job failed unexpectedly.").details())

    def _produce(self, job: Job) -> Result:
        """Write the files of a job from one state of the store, whatever is committed meanwhile."""
        folder = self._folder / job.id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        with self._store.steady_cursor() as cursor:
            table = self._store.table(job.namespace, job.table, cursor)
            if table is None:
                raise errors.processing("The table does not exist any more.")
            selection = self._select(table, job.query, cursor)
            names = write_parts(
                cursor,
                encoding(job.query, selection, self._settings.parquet_timestamps),
                folder,
                str(uuid.uuid4()),
                self._settings.rows_per_part,
                self._settings.empty_part,
            )
        return Result(tuple(names), table.version, selection.since, selection.until)

    def _select(
        self,
        table: StoredTable,
        query: Query,
        cursor: duckdb.DuckDBPyConnection | None = None,
    ) -> Selection:
        newest = self._store.committed_at(table.namespace, table.name, cursor)
        school = self._store.school_committed_at(cursor)
        now, history = self._clock.now(), self._settings.history
        present = now if history.by_clock else school or now
        return select_rows(table, query, newest or now, present, history)


def _outcome_body(job_id: str, outcome: Result | Failure) -> dict[str, Any]:
    if isinstance(outcome, Failure):
        return {"status": "failed", "error": vars(outcome)}
    body: dict[str, Any] = {
        "status": "complete",
        "objects": [{"id": f"{job_id}/{name}"} for name in outcome.files],
        "schema_version": outcome.schema_version,
    }
    if outcome.since is None:
        return {**body, "at": instant_text(outcome.until)}
    since, until = instant_text(outcome.since), instant_text(outcome.until)
    return {**body, "since": since, "until": until}
