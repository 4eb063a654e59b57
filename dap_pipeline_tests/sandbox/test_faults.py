from __future__ import annotations

from pathlib import Path

from starlette.responses import Response

from dap_pipeline.sandbox import errors
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.interceptors import Call, Interceptor, Proceed
from dap_pipeline.sandbox.job_book import Job
from dap_pipeline.sandbox.limits import Endpoint

from . import small_school
from .caller import Caller, login


class Once(Interceptor):
    """Gives one answer of its own to the first request of an endpoint."""

    def __init__(self, endpoint: Endpoint, answer: Response) -> None:
        self.endpoint = endpoint
        self.answers = [answer]
        self.calls: list[Call] = []

    async def answer(self, call: Call, proceed: Proceed) -> Response:
        self.calls.append(call)
        if call.endpoint is self.endpoint and self.answers:
            return self.answers.pop()
        return await proceed()


class FailingJobs(Interceptor):
    """Fails the first job of a table."""

    def __init__(self, table: str, message: str) -> None:
        self.table = table
        self.messages = [message]

    def before_job(self, job: Job) -> None:
        if job.table == self.table and self.messages:
            raise errors.processing(self.messages.pop())


class Shortened(Interceptor):
    """Cuts the bytes of objects in half."""

    async def answer(self, call: Call, proceed: Proceed) -> Response:
        answer = await proceed()
        if call.endpoint is Endpoint.OBJECT:
            return Response(b"half")
        return answer


def test_a_login_can_be_answered_with_429(tmp_path: Path) -> None:
    fault = Once(Endpoint.LOGIN, errors.too_many_requests(7).response())
    with small_school.running(SandboxConfig(tmp_path), interceptors=[fault]) as sandbox:
        first, second = login(sandbox), login(sandbox)
        assert (first.status_code, first.headers["retry-after"]) == (429, "7")
        assert second.ok
        assert sandbox.service.counts.requests[Endpoint.LOGIN] == 2


def test_a_gateway_can_time_out(tmp_path: Path) -> None:
    fault = Once(Endpoint.JOB, errors.gateway_timeout())
    with small_school.running(SandboxConfig(tmp_path), interceptors=[fault]) as sandbox:
        caller = Caller(sandbox)
        job = caller.data("users", {"format": "tsv"}).json()
        answer = caller.get(f"/dap/job/{job['id']}")
        assert answer.status_code == 504
        assert answer.json() == {"error": {"message": "Endpoint request timed out"}}
        assert caller.get(f"/dap/job/{job['id']}").ok
        assert fault.calls[-1] == Call(Endpoint.JOB, job_id=job["id"])
        assert Call(Endpoint.DATA, "canvas", "users") in fault.calls


def test_a_job_can_fail_and_a_new_query_starts_another(tmp_path: Path) -> None:
    fault = FailingJobs("users", "There is no data available yet.")
    with small_school.running(SandboxConfig(tmp_path), interceptors=[fault]) as sandbox:
        caller = Caller(sandbox)
        job = caller.ended_job("users", format="tsv")
        assert job.keys() == {"id", "status", "expires_at", "error"}
        assert job["status"] == "failed"
        assert job["error"].keys() == {"type", "uuid", "message"}
        assert job["error"]["type"] == "ProcessingError"
        assert job["error"]["message"] == "There is no data available yet."
        assert caller.get(f"/dap/job/{job['id']}").json() == job, "it keeps its uuid"
        again = caller.ended_job("users", format="tsv")
        assert (again["status"], again["id"] == job["id"]) == ("complete", False)


def test_an_answer_can_be_changed_on_its_way_out(tmp_path: Path) -> None:
    with small_school.running(SandboxConfig(tmp_path), interceptors=[Shortened()]) as sandbox:
        caller = Caller(sandbox)
        assert caller.files(caller.ended_job("users", format="tsv")) == [b"half"]


def test_the_first_interceptor_is_asked_first(tmp_path: Path) -> None:
    first = Once(Endpoint.TABLES, Response("first"))
    second = Once(Endpoint.TABLES, Response("second"))
    with small_school.running(SandboxConfig(tmp_path), interceptors=[first, second]) as sandbox:
        caller = Caller(sandbox)
        texts = [caller.get("/dap/query/canvas/table").text for _ in range(2)]
    assert texts == ["first", "second"]
