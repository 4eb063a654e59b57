from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from dap_pipeline.dap import jobs as jobs_module
from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.jobs import JobPace, JobRunner
from dap_pipeline.dap.limits import Endpoint
from dap_pipeline.dap.login import Credentials
from dap_pipeline.dap.models import (
    CompleteIncremental,
    CompleteJob,
    CompleteSnapshot,
    Format,
    IncrementalQuery,
    Query,
)
from dap_pipeline.dap.progress import Progress, Stage, silent
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    AccountError,
    CancelledError,
    JobFailedError,
    JobTimeoutError,
    NotFoundError,
    OutOfRangeError,
    Place,
    SnapshotRequiredError,
    UnknownJobStateError,
    UnknownTableError,
)

from .parts import COURSES, DATA, JOB, SNAPSHOT, LongQueue, WatchedStop, client_of, http_to
from .scripted import Answer, ScriptedServer, fails, says

PACE = JobPace(first_poll=0.001, longest_poll=0.002, failed_wait=0.001)
AT = "2026-11-23T08:00:00Z"
NOW = "Mon, 23 Nov 2026 12:00:00 GMT"
CLOCK = datetime(2026, 11, 23, 12, tzinfo=UTC)


def pending(status: str = "waiting", **more: Any) -> Answer:
    return says({"id": "job-1", "status": status, **more}, 202)


def complete(life: float | None = None, job_id: str = "job-1") -> Answer:
    """Give a complete job that lives so many seconds more by the server's clock."""
    job: dict[str, Any] = {
        "id": job_id,
        "status": "complete",
        "objects": [{"id": "job-1/a"}],
        "schema_version": 1,
        "at": AT,
    }
    if life is not None:
        job["expires_at"] = (CLOCK + timedelta(seconds=life)).isoformat()
    return says(job, Date=NOW)


FAILED = says(
    {
        "id": "job-1",
        "status": "failed",
        "error": {"type": "ProcessingError", "uuid": "0-1-2", "message": "No data\n yet."},
    }
)


@pytest.fixture(autouse=True)
def _accepting(server: ScriptedServer) -> None:
    server.logs_in()


class Runs:
    """Runs queries at the scripted server."""

    def __init__(self, server: ScriptedServer, folder: Path) -> None:
        self.client = client_of(server.url, folder)
        self.told: list[Progress] = []
        self.stop = WatchedStop()

    def run(self, query: Query = SNAPSHOT, pace: JobPace = PACE) -> CompleteJob:
        runner = JobRunner(self.client, pace)
        return runner.run(COURSES, query, listener=self.told.append, stop=self.stop)


@pytest.fixture
def runs(server: ScriptedServer, tmp_path: Path) -> Runs:
    return Runs(server, tmp_path)


def test_a_job_of_before_tells_its_age(server: ScriptedServer, runs: Runs) -> None:
    # An hour less than it had when it was begun, half a minute less, and one that does not tell.
    server.on(DATA, complete(life=23 * 3600), complete(life=24 * 3600 - 30), complete())
    ages = [runs.run().age for _ in range(3)]
    assert ages == [timedelta(hours=1), timedelta(), timedelta()]


def test_a_job_that_runs_for_long_is_new_all_the_same(server: ScriptedServer, runs: Runs) -> None:
    first, last = pending(), complete(life=24 * 3600)
    later = format_datetime(CLOCK + timedelta(minutes=5), usegmt=True)
    server.on(DATA, replace(first, headers={**first.headers, "Date": NOW}))
    server.on(JOB, replace(last, headers={**last.headers, "Date": later}))
    assert runs.run().age == timedelta()


def test_a_job_is_followed_from_waiting_over_running_to_complete(
    server: ScriptedServer, runs: Runs
) -> None:
    server.on(DATA, pending("waiting"))
    server.on(JOB, pending("waiting"), pending("running"), pending("running"), complete())
    job = runs.run()
    assert isinstance(job, CompleteSnapshot)
    assert [ref.id for ref in job.objects] == ["job-1/a"]
    assert [(p.stage, p.job_id) for p in runs.told] == [
        (Stage.WAITING, "job-1"),
        (Stage.WAITING, "job-1"),
        (Stage.RUNNING, "job-1"),
        (Stage.RUNNING, "job-1"),
    ]
    assert len(server.at(DATA)) == 1


def test_a_job_that_is_complete_at_once_is_not_asked_after(
    server: ScriptedServer, runs: Runs
) -> None:
    server.on(DATA, complete())
    assert runs.run().id == "job-1"
    assert runs.stop.waits == []


def test_an_incremental_job_tells_its_bounds(server: ScriptedServer, runs: Runs) -> None:
    bounds = {"since": AT, "until": "2026-11-23T09:00:00.5+01:00"}
    server.on(
        DATA,
        says({"id": "j", "status": "complete", "objects": [], "schema_version": 2, **bounds}),
    )
    job = runs.run(IncrementalQuery(Format.JSONL, datetime(2026, 11, 23, tzinfo=UTC)))
    assert isinstance(job, CompleteIncremental)
    assert job.until - job.since == timedelta(seconds=0.5)
    assert server.at(DATA)[0].json == {"format": "jsonl", "since": "2026-11-23T00:00:00Z"}


@pytest.mark.parametrize(
    ("waited", "wait"), [(0.0, 0.1), (0.5, 0.1), (10.0, 1.5), (60.0, 9.0), (3600.0, 10.0)]
)
def test_polls_become_rarer_the_longer_a_job_takes(waited: float, wait: float) -> None:
    assert JobPace().poll_after(waited) == pytest.approx(wait)


def test_time_in_the_queue_for_a_start_counts_neither_for_polls_nor_for_the_deadline(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = LongQueue(tmp_path, Endpoint.CREATE)
    monkeypatch.setattr(jobs_module, "time", limiter.clock)
    server.on(DATA, pending(), pending())
    server.on(JOB, FAILED, pending(), complete())
    client = DapClient(http_to(server.url), Credentials("a", "b"), limiter)
    stop, pace = WatchedStop(), JobPace(first_poll=0.01, failed_wait=0.02, deadline=100.0)
    assert JobRunner(client, pace).run(COURSES, SNAPSHOT, listener=silent, stop=stop).id == "job-1"
    assert stop.waits == [0.01, 0.02, 0.01, 0.01]


def test_a_failed_job_is_tried_anew_with_growing_waits(server: ScriptedServer, runs: Runs) -> None:
    server.on(DATA, pending(), FAILED, complete())
    server.on(JOB, FAILED)
    pace = JobPace(first_poll=0.001, longest_poll=0.001, failed_wait=0.01)
    assert runs.run(pace=pace).id == "job-1"
    assert runs.stop.waits[1:] == [0.01, 0.02]


def test_a_job_that_fails_each_time_tells_what_dap_said(server: ScriptedServer, runs: Runs) -> None:
    server.on(DATA, FAILED, FAILED, FAILED)
    with pytest.raises(JobFailedError) as caught:
        runs.run()
    place = Place("canvas", "courses", "job-1", "0-1-2", "ProcessingError")
    assert caught.value.place == place
    assert str(caught.value) == (
        "canvas.courses: DAP's job failed: No data yet (job job-1, DAP error type"
        f" ProcessingError, uuid 0-1-2). {JobFailedError.advice}"
    )


def test_a_job_that_fails_without_a_word_has_failed(server: ScriptedServer, runs: Runs) -> None:
    server.on(DATA, *[says({"id": "job-1", "status": "failed"})] * 3)
    with pytest.raises(JobFailedError, match="failed without a message"):
        runs.run()


def test_a_failed_job_is_not_tried_anew_after_the_deadline(
    server: ScriptedServer, runs: Runs
) -> None:
    server.on(DATA, FAILED)
    with pytest.raises(JobFailedError):
        runs.run(pace=JobPace(failed_wait=60.0, deadline=30.0))
    assert runs.stop.waits == []


@pytest.mark.parametrize("status", ["waiting", "running"])
def test_a_job_that_does_not_end_is_given_up_at_the_deadline(
    server: ScriptedServer, runs: Runs, status: str
) -> None:
    server.on(DATA, pending(status))
    server.always(JOB, pending(status))
    pace = JobPace(first_poll=0.01, longest_poll=0.01, deadline=0.1)
    with pytest.raises(JobTimeoutError, match=f"still {status} after 0 seconds") as caught:
        runs.run(pace=pace)
    assert caught.value.place == Place("canvas", "courses", "job-1")
    assert sum(runs.stop.waits) <= 0.11


def test_a_job_that_is_lost_is_asked_for_once_more(server: ScriptedServer, runs: Runs) -> None:
    server.on(DATA, pending(), complete(job_id="job-2"))
    server.on(JOB, fails(404, "ObjectNotFound", "Job does not exist.", kind="job"))
    assert runs.run().id == "job-2"


def test_a_job_that_is_lost_twice_is_an_error_that_names_it(
    server: ScriptedServer, runs: Runs
) -> None:
    lost = fails(404, "ObjectNotFound", "Job does not exist.", kind="job")
    server.on(DATA, pending(), pending())
    server.on(JOB, lost, lost)
    with pytest.raises(NotFoundError) as caught:
        runs.run()
    assert caught.value.place.job_id == "job-1"


def test_a_job_that_was_lost_may_still_fail_as_often_as_others(
    server: ScriptedServer, runs: Runs
) -> None:
    server.on(DATA, FAILED, FAILED, pending(), complete())
    server.on(JOB, fails(404, kind="job"))
    assert runs.run().id == "job-1"


def test_a_job_about_to_vanish_is_waited_out_and_asked_for_anew(
    server: ScriptedServer, runs: Runs
) -> None:
    server.on(DATA, complete(life=0.2), complete(life=86_400.0, job_id="job-2"))
    began = time.monotonic()
    assert runs.run().id == "job-2"
    assert time.monotonic() - began >= 0.2
    assert runs.stop.waits == [pytest.approx(0.201)]


@pytest.mark.parametrize("life", [61.0, 86_400.0, None])
def test_a_job_that_lives_on_is_used(
    server: ScriptedServer, runs: Runs, life: float | None
) -> None:
    server.on(DATA, complete(life))
    assert runs.run().id == "job-1"


def test_a_job_about_to_vanish_is_used_when_a_new_one_would_come_too_late(
    server: ScriptedServer, runs: Runs
) -> None:
    server.on(DATA, complete(life=50.0))
    assert runs.run(pace=JobPace(deadline=40.0)).id == "job-1"


@pytest.mark.parametrize("life", [0.0, -86_400.0])
def test_a_job_that_never_vanishes_is_used_after_all(
    server: ScriptedServer, runs: Runs, life: float
) -> None:
    server.always(DATA, complete(life))
    assert runs.run().id == "job-1"
    assert len(server.at(DATA)) == 1 + PACE.vanishing_tries


def test_a_stop_ends_the_wait_for_a_job_soon(server: ScriptedServer, runs: Runs) -> None:
    server.on(DATA, pending())
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(runs.run, pace=JobPace(first_poll=600.0, longest_poll=600.0))
        assert runs.stop.waiting.wait(60)
        asked = time.monotonic()
        runs.stop.set()
        assert isinstance(run.exception(60), CancelledError)
    assert time.monotonic() - asked < 30.0


RANGE = {"since": AT, "until": AT}


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (fails(404, kind="table"), UnknownTableError),
        (fails(403, "AccountDisabled"), AccountError),
        (fails(400, "OutOfRangeError", **RANGE), OutOfRangeError),
        (fails(400, "SnapshotRequiredError", **RANGE), SnapshotRequiredError),
        (says({"id": "job-1", "status": "sleeping"}), UnknownJobStateError),
    ],
)
def test_a_query_that_is_refused_is_not_repeated_and_its_table_is_named(
    server: ScriptedServer, runs: Runs, refusal: Answer, kind: type[Exception]
) -> None:
    server.on(DATA, refusal)
    with pytest.raises(kind, match=r"^canvas\.courses: ") as caught:
        runs.run()
    assert type(caught.value) is kind


def test_an_error_while_polling_names_the_job(server: ScriptedServer, runs: Runs) -> None:
    server.on(DATA, pending())
    server.on(JOB, fails(403, "AccountUnderMaintenance"))
    with pytest.raises(AccountError, match=r"canvas\.courses: .*job job-1"):
        runs.run()


def test_a_stop_before_the_start_asks_nothing(server: ScriptedServer, runs: Runs) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(CancelledError):
        JobRunner(runs.client, PACE).run(COURSES, SNAPSHOT, listener=silent, stop=stop)
    assert server.at(DATA) == []
