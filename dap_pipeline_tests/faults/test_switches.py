"""Which requests and jobs a fault strikes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from starlette.responses import JSONResponse, Response

from dap_pipeline.sandbox.errors import ApiError
from dap_pipeline.sandbox.faults import ALWAYS, Fault, Faults, JobFault
from dap_pipeline.sandbox.faults_answers import reply
from dap_pipeline.sandbox.interceptors import Call
from dap_pipeline.sandbox.job_book import Job
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.queries import Format, Query

STRUCK = reply(503)


def job(table: str, job_id: str = "1") -> Job:
    return Job(job_id, "canvas", table, Query(Format.TSV), datetime.now(UTC))


def ask(faults: Faults, call: Call, answer: Response | None = None) -> bool:
    """Make a request; tell whether it was struck."""

    async def proceed() -> Response:
        return answer or Response()

    return asyncio.run(faults.answer(call, proceed)).status_code == 503


def data(table: str) -> Call:
    return Call(Endpoint.DATA, "canvas", table)


def test_a_fault_strikes_so_often_after_so_many() -> None:
    faults = Faults()
    faults.switch_on(Fault(STRUCK, (Endpoint.DATA,), times=2, skip=1))
    struck = [ask(faults, data("users")) for _ in range(5)]
    assert struck == [False, True, True, False, False]
    assert faults.struck() == {Endpoint.DATA: 2}


def test_each_endpoint_is_counted_on_its_own() -> None:
    faults = Faults()
    faults.switch_on(Fault(STRUCK, (Endpoint.DATA, Endpoint.LOGIN)))
    assert ask(faults, data("users"))
    assert ask(faults, Call(Endpoint.LOGIN))
    assert not ask(faults, Call(Endpoint.TABLES))
    assert not ask(faults, Call(Endpoint.LOGIN))


def test_a_table_is_known_by_its_name_its_job_and_its_objects() -> None:
    faults = Faults()
    faults.switch_on(Fault(STRUCK, tuple(Endpoint), "users", ALWAYS))
    faults.before_job(job("users", "1"))
    faults.before_job(job("courses", "2"))
    assert (ask(faults, data("users")), ask(faults, data("courses"))) == (True, False)
    for endpoint in (Endpoint.JOB, Endpoint.OBJECT):
        struck = [ask(faults, Call(endpoint, job_id=job_id)) for job_id in ("1", "2", "3")]
        assert struck == [True, False, False]
    for job_id, hit in (("1", True), ("2", False)):
        links = JSONResponse({"urls": {f"{job_id}/part": {"url": "x"}}})
        assert ask(faults, Call(Endpoint.OBJECT_URL), links) is hit


def test_chance_is_the_same_for_the_same_seed() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.switch_on(Fault(STRUCK, (Endpoint.DATA,), times=ALWAYS, probability=0.3))
        return [ask(faults, data("users")) for _ in range(200)]

    assert struck(1) == struck(1) != struck(2)
    assert 30 < sum(struck(1)) < 90


def test_jobs_fail_so_often_and_those_of_the_table_only() -> None:
    faults = Faults()
    faults.switch_on(JobFault("No.", "users"))
    faults.before_job(job("courses"))
    with pytest.raises(ApiError, match="No"):
        faults.before_job(job("users"))
    faults.before_job(job("users"))
    assert faults.jobs_failed == 1


def test_switching_forgets_what_was_struck() -> None:
    faults = Faults()
    faults.switch_on(Fault(STRUCK, (Endpoint.LOGIN,)))
    assert ask(faults, Call(Endpoint.LOGIN))
    faults.switch_off()
    assert not ask(faults, Call(Endpoint.LOGIN))
    assert (faults.struck(), len(faults.calls)) == ({}, 1)


def test_queries_for_increments_can_be_struck_alone() -> None:
    snapshot = Call(Endpoint.DATA, "canvas", "users", body=b'{"format": "tsv"}')
    increment = Call(Endpoint.DATA, "canvas", "users", body=b'{"format": "tsv", "since": ""}')
    for increments, struck in {True: [False, True], False: [True, False]}.items():
        faults = Faults()
        faults.switch_on(Fault(STRUCK, (Endpoint.DATA,), times=ALWAYS, increments=increments))
        assert [ask(faults, snapshot), ask(faults, increment)] == struck
