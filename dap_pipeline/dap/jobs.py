"""Follows one query from its start to its complete job.

DAP answers an identical query with the same job for 24 hours, then job and objects vanish
together. So a complete job that is about to vanish is not used: the query is asked again once it is
gone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from dap_pipeline.dap.client import Answered, DapClient
from dap_pipeline.dap.models import (
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
    deadline: float = 21_600.0

    def poll_after(self, waited: float) -> float:
        """Give the seconds until the next poll of a job that was started so long ago."""
        return min(max(waited * self.poll_share, self.first_poll), self.longest_poll)


class JobRunner:
    """Runs queries of one table at a time to their end."""

    def __init__(self, client: DapClient, pace: JobPace) -> None:
        self._client = client
        self._pace = pace

    def run(self, name: TableName, query: Query, *, listener: Listener, stop: Stop) -> CompleteJob:
        """Start the query, or join its job, and wait until the job is complete.

        Raises:
            JobFailedError: the job failed each time it was tried.
            JobTimeoutError: the deadline passed first.
            DapError: DAP refused the query.
        """
        deadline = time.monotonic() + self._pace.deadline
        tries = 0
        while True:
            try:
                job = self._run_once(name, query, deadline, listener, stop)
            except (JobFailedError, NotFoundError) as error:
                tries += 1
                self._may_try_again(error.at(name.namespace, name.table), tries, deadline)
                stop.wait(self._wait_after(error, tries))
            except DapPipelineError as error:
                raise error.at(name.namespace, name.table) from None
            else:
                if job is not None:
                    return job

    def _may_try_again(
        self, error: JobFailedError | NotFoundError, tries: int, deadline: float
    ) -> None:
        """Raise the error at the last try, or when the next one would come too late."""
        most = self._pace.failed_tries if isinstance(error, JobFailedError) else 2
        if tries >= most or time.monotonic() + self._wait_after(error, tries) > deadline:
            raise error from None

    def _wait_after(self, error: JobFailedError | NotFoundError, tries: int) -> float:
        return self._pace.failed_wait * tries if isinstance(error, JobFailedError) else 0.0

    def _run_once(
        self, name: TableName, query: Query, deadline: float, listener: Listener, stop: Stop
    ) -> CompleteJob | None:
        """Wait for one job; None when it was complete but about to vanish, and now is gone."""
        started = time.monotonic()
        answered = self._client.start(name, query, stop)
        while isinstance(job := answered.job, PendingJob):
            stage = Stage.RUNNING if job.status == "running" else Stage.WAITING
            listener(Progress(name, stage, job_id=job.id))
            self._wait_for(job, name, started, deadline, stop)
            answered = self._client.job(job.id, stop)
        if isinstance(job, FailedJob):
            raise _failure(job).at(name.namespace, name.table, job.id)
        return job if self._lives_on(answered, job, deadline, stop) else None

    def _wait_for(
        self, job: PendingJob, name: TableName, started: float, deadline: float, stop: Stop
    ) -> None:
        now = time.monotonic()
        if now >= deadline:
            raise JobTimeoutError(
                f"the job is still {job.status} after {self._pace.deadline:,.0f} seconds"
            ).at(name.namespace, name.table, job.id)
        stop.wait(min(self._pace.poll_after(now - started), deadline - now))

    def _lives_on(
        self,
        answered: Answered,
        job: CompleteSnapshot | CompleteIncremental,
        deadline: float,
        stop: Stop,
    ) -> bool:
        """Tell whether the job's objects live long enough; else wait until they are gone."""
        if job.expires_at is None:
            return True
        life = (job.expires_at - answered.server_time).total_seconds()
        if life > self._pace.vanishing or time.monotonic() + life > deadline:
            return True
        stop.wait(max(life, 0.0) + self._pace.first_poll)
        return False


def _failure(job: FailedJob) -> JobFailedError:
    said = " ".join(job.error.message.split())[:500]
    return JobFailedError(
        f"DAP's job failed: {said}" if said else "DAP's job failed without a message",
        place=Place(uuid=job.error.uuid or None, error_type=job.error.type or None),
    )
