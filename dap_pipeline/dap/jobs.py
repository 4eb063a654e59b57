"""Follows one query from its start to its complete job.

DAP answers an identical query with the same job for 24 hours, then job and objects vanish
together. So a complete job that is about to vanish is not used: the query is asked again once it is
gone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from dap_pipeline.dap.client import Answered, DapClient
from dap_pipeline.dap.models import (
    JOB_LIFE,
    CompleteIncremental,
    CompleteJob,
    CompleteSnapshot,
    FailedJob,
    PendingJob,
    Query,
    TableName,
)
from dap_pipeline.dap.progress import Listener, Progress, Stage
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    DapPipelineError,
    JobFailedError,
    JobTimeoutError,
    NotFoundError,
    Place,
)
from dap_pipeline.settings import Settings

# A job of less age counts as new: DAP's clock tells whole seconds.
_NEW = timedelta(minutes=1)


@dataclass(frozen=True)
class JobPace:
    """When a job is asked after, and when it is tried anew; all in seconds."""

    first_poll: float = 0.1
    longest_poll: float = 10.0
    poll_share: float = 0.15
    """Polls come after this share of the time waited, so that waiting costs little more."""
    failed_wait: float = 30.0
    """Wait before a failed job is tried again; twice and three times as long after that."""
    failed_tries: int = 3
    vanishing: float = 60.0
    """A job with less life than this is not worth starting on."""
    vanishing_tries: int = 3
    """How often such a job is waited out; then it is used after all, as a clock may be wrong."""
    deadline: float = 21_600.0

    @classmethod
    def from_settings(cls, settings: Settings) -> JobPace:
        """Take the waits from the settings."""
        return cls(failed_wait=settings.job_retry_wait, deadline=settings.job_timeout)

    def poll_after(self, waited: float) -> float:
        """Give the seconds until the next poll of a job that was started so long ago."""
        return min(max(waited * self.poll_share, self.first_poll), self.longest_poll)


@dataclass
class _Run:
    """One query on its way to its result, and what has come in between so far."""

    name: TableName
    query: Query
    listener: Listener
    stop: Stop
    deadline: float
    started: float = 0.0
    failed: int = 0
    lost: int = 0
    vanishing: int = 0


class JobRunner:
    """Runs queries of one table at a time to their end."""

    def __init__(self, client: DapClient, pace: JobPace) -> None:
        self._client = client
        self._pace = pace

    def run(self, name: TableName, query: Query, *, listener: Listener, stop: Stop) -> CompleteJob:
        """Start the query, or join its job, and wait until the job is complete.

        Raises:
            JobFailedError: the job failed each time it was tried.
            JobTimeoutError: the deadline passed first; waits for a start are not counted.
            DapError: DAP refused the query.
        """
        run = _Run(name, query, listener, stop, time.monotonic() + self._pace.deadline)
        while True:
            try:
                job = self._run_once(run)
            except JobFailedError as error:
                run.failed += 1
                wait = self._pace.failed_wait * run.failed
                late = time.monotonic() + wait > run.deadline
                if late or run.failed >= self._pace.failed_tries:
                    raise error.at(name.namespace, name.table) from None
                stop.wait(wait)
            except NotFoundError as error:
                run.lost += 1
                if run.lost > 1:
                    raise error.at(name.namespace, name.table) from None
            except DapPipelineError as error:
                raise error.at(name.namespace, name.table) from None
            else:
                if job is not None:
                    return job

    def _run_once(self, run: _Run) -> CompleteJob | None:
        """Wait for one job; None when it was complete but about to vanish, and now is gone."""
        answered = self._start(run)
        asked_at = answered.server_time
        while isinstance(job := answered.job, PendingJob):
            stage = Stage.RUNNING if job.status == "running" else Stage.WAITING
            run.listener(Progress(run.name, stage, job_id=job.id))
            answered = self._poll(job, run)
        if isinstance(job, FailedJob):
            raise _failure(job)
        return _aged(job, asked_at) if self._lives_on(answered, job, run) else None

    def _start(self, run: _Run) -> Answered:
        """Start the job; its polls and its deadline count from now, not from the queue before."""
        queued = time.monotonic()
        answered = self._client.start(run.name, run.query, run.stop)
        run.started = time.monotonic()
        run.deadline += run.started - queued
        return answered

    def _poll(self, job: PendingJob, run: _Run) -> Answered:
        """Ask for the job when the next poll is due."""
        now = time.monotonic()
        try:
            if now >= run.deadline:
                waited = f"{self._pace.deadline:,.0f} seconds"
                raise JobTimeoutError(f"the job is still {job.status} after {waited}")
            run.stop.wait(min(self._pace.poll_after(now - run.started), run.deadline - now))
            return self._client.job(job.id, run.stop)
        except DapPipelineError as error:
            raise error.at(job_id=job.id) from None

    def _lives_on(
        self, answered: Answered, job: CompleteSnapshot | CompleteIncremental, run: _Run
    ) -> bool:
        """Tell whether the job's objects live long enough; else wait until they are gone."""
        if job.expires_at is None or run.vanishing >= self._pace.vanishing_tries:
            return True
        life = (job.expires_at - answered.server_time).total_seconds()
        if life > self._pace.vanishing or time.monotonic() + life > run.deadline:
            return True
        run.vanishing += 1
        run.stop.wait(max(life, 0.0) + self._pace.first_poll)
        return False


def _aged(job: CompleteJob, asked_at: datetime) -> CompleteJob:
    """Note how old the job was when it was asked for; DAP may have begun it hours before."""
    age = timedelta() if job.begun_at is None else asked_at - job.begun_at
    return job if age < _NEW else job.model_copy(update={"age": min(age, JOB_LIFE)})


def _failure(job: FailedJob) -> JobFailedError:
    said = job.error.message.rstrip(".")
    place = Place(job_id=job.id, uuid=job.error.uuid or None, error_type=job.error.type or None)
    return JobFailedError(
        f"DAP's job failed: {said}" if said else "DAP's job failed without a message", place=place
    )
