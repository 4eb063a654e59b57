"""Clocks that are wrong, and jobs that are about to expire."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import Outcome
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.faults import Faults
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.settings import load_settings
from dap_pipeline_tests.sandbox import small_school
from dap_pipeline_tests.sandbox.caller import Caller

from .generations import Generations
from .killing import USERS
from .proving import CRASHES, proves
from .service import HASTE
from .surfaces import expected_rows, published_rows

pytestmark = pytest.mark.slow

_DAY = 24 * 3600


def write_as_if_later(folder: Path, seconds: float) -> None:
    """Give all that a load has left the times that a clock running ahead would have given it."""
    for commit in folder.rglob("_delta_log/*.json"):
        lines = [json.loads(line) for line in commit.read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["timestamp"] += int(seconds * 1000)
            if "add" in line:
                line["add"]["modificationTime"] += int(seconds * 1000)
        commit.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for file in folder.rglob("*"):
        os.utime(file, (time.time() + seconds, time.time() + seconds))


@proves(
    CRASHES,
    "the clock of this machine is set back",
    "Loads and publishes as before, and removes nothing that is published: versions are numbered, "
    "and waits and rate limits do not ask for the time of day.",
)
def test_a_clock_that_is_set_back_changes_nothing(
    generations: Generations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAP_PIPELINE_KEEP_VERSIONS", "0")
    for number in range(3):
        generations.prepare()
        with Engine.open(load_settings()) as engine:
            result = engine.load(USERS)
            table = engine.lake.table(USERS)
        assert (result.outcome, result.table.version) == (Outcome.LOADED, number)
        assert published_rows("users") == generations.rows(number)
        assert table is not None
        # The first two loads were made while the clock was a day ahead.
        if number < 2:
            write_as_if_later(tmp_path / "data", _DAY)
        generations.step()
    with Engine.open(load_settings()) as engine:
        engine.lake.vacuum(USERS, timedelta(0))
    assert published_rows("users") == generations.rows(2)


@proves(
    "Tokens, links, objects and jobs that come to their end",
    "a complete job that is about to expire",
    "Waits until it is gone, then asks the query again and takes the new job.",
)
def test_a_job_about_to_expire_is_not_begun_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, faults = tmp_path / "service", Faults()
    folder.mkdir()
    # The service lives a day less some seconds ago, so that its clock comes to be the true one
    # when the job is about to expire.
    behind = _DAY - 4
    (folder / "clock.json").write_text(json.dumps({"offset_seconds": -behind}))
    config = SandboxConfig(folder, rate_limits=False, rows_per_part=25, job_polls=0)
    with small_school.running(config, interceptors=(faults,)) as sandbox:
        old = Caller(sandbox).ended_job("users", format="parquet")["id"]
        sandbox.service.clock.advance(timedelta(seconds=behind))
        for name, value in {
            "DAP_API_URL": sandbox.url,
            "DAP_CLIENT_ID": sandbox.client_id,
            "DAP_CLIENT_SECRET": sandbox.client_secret,
            "DAP_PIPELINE_DATA_DIR": str(tmp_path / "data"),
            **HASTE,
        }.items():
            monkeypatch.setenv(name, value)
        faults.switch_off()
        with Engine.open(load_settings()) as engine:
            result = engine.load(USERS)
    assert result.table.load.job_id != old
    assert published_rows("users") == expected_rows("users")
    calls = [made.call for made in faults.calls]
    assert sum(call.endpoint is Endpoint.DATA for call in calls) == 2
    assert all(call.job_id != old for call in calls if call.endpoint is Endpoint.OBJECT)
