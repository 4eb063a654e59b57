from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from dap_pipeline.sandbox.clock import Clock
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.limits import DOCUMENTED_LIMITS, Endpoint, RateLimiter

from . import small_school
from .caller import Caller


def test_the_documented_numbers_are_the_default() -> None:
    numbers = {endpoint.value: count for endpoint, count in DOCUMENTED_LIMITS.items()}
    assert numbers == {"data": 5, "job": 500, "tables": 5, "schema": 500, "object_url": 200}


@pytest.mark.parametrize("endpoint", list(DOCUMENTED_LIMITS))
def test_each_endpoint_admits_its_number_in_a_minute(endpoint: Endpoint) -> None:
    limiter = RateLimiter(Clock(), DOCUMENTED_LIMITS)
    admitted = [limiter.admit(endpoint) for _ in range(DOCUMENTED_LIMITS[endpoint] + 1)]
    assert admitted[:-1] == [None] * DOCUMENTED_LIMITS[endpoint]
    assert admitted[-1] in {59, 60}


def test_the_window_slides() -> None:
    clock = Clock()
    limiter = RateLimiter(clock, {Endpoint.DATA: 2})
    assert limiter.admit(Endpoint.DATA) is None
    clock.advance(timedelta(seconds=40))
    assert limiter.admit(Endpoint.DATA) is None
    wait = limiter.admit(Endpoint.DATA)
    assert wait in {19, 20}
    clock.advance(timedelta(seconds=20))
    assert limiter.admit(Endpoint.DATA) is None
    assert limiter.admit(Endpoint.DATA) in {39, 40}


def test_one_request_too_many_is_told_how_long_to_wait(tmp_path: Path) -> None:
    with small_school.running(SandboxConfig(tmp_path)) as sandbox:
        caller = Caller(sandbox)
        answers = [caller.get("/dap/query/canvas/table") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert answers[-1].headers["content-type"] == "application/json"
        assert answers[-1].json()["error"].keys() == {"type", "uuid", "message"}
        wait = int(answers[-1].headers["retry-after"])
        assert 0 < wait <= 60
        assert caller.get("/dap/query/canvas/table/users/schema").ok, "endpoints count apart"
        sandbox.service.clock.advance(timedelta(seconds=wait))
        assert caller.get("/dap/query/canvas/table").ok


def test_asking_for_a_known_job_counts_as_well(tmp_path: Path) -> None:
    with small_school.running(SandboxConfig(tmp_path)) as sandbox:
        caller = Caller(sandbox)
        codes = [caller.data("users", {"format": "tsv"}).status_code for _ in range(6)]
        assert codes[-1] == 429
        assert 429 not in codes[:-1]


def test_limits_can_be_set_and_switched_off(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path / "set", limits={Endpoint.SCHEMA: 1})
    path = "/dap/query/canvas/table/users/schema"
    with small_school.running(config) as sandbox:
        assert [Caller(sandbox).get(path).status_code for _ in range(2)] == [200, 429]
    config = SandboxConfig(tmp_path / "off", rate_limits=False)
    with small_school.running(config) as sandbox:
        caller = Caller(sandbox)
        assert {caller.get("/dap/query/canvas/table").status_code for _ in range(10)} == {200}


def test_requests_are_counted_per_endpoint(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path, limits={Endpoint.TABLES: 2})
    with small_school.running(config) as sandbox:
        caller = Caller(sandbox)
        for _ in range(3):
            caller.get("/dap/query/canvas/table")
        caller.files(caller.ended_job("users", format="csv"))
        counts = caller.get("/sandbox/requests").json()
    assert counts["requests"] == {
        "login": 1,
        "tables": 3,
        "schema": 0,
        "data": 1,
        "job": 2,
        "object_url": 1,
        "object": 1,
    }
    assert counts["rate_limited"]["tables"] == 1
    assert counts["rate_limited"]["data"] == 0
