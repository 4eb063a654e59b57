"""The service as a process of its own, and under many jobs at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests

from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.serve import running_sandbox
from dap_pipeline.sandbox.store import Store

from . import small_school
from .caller import Caller

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from pathlib import Path
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.serve import serve
serve(SandboxConfig(Path(sys.argv[1])))
print("ended well", file=sys.stderr)
"""


@contextmanager
def served(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with small_school.running(SandboxConfig(folder)):
        pass
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def announced(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    return dict(line.strip().split("=", 1) for line in lines)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_announces_itself_answers_and_ends_on_a_signal(tmp_path: Path, end: int) -> None:
    with served(tmp_path) as process:
        names = announced(process)
        assert list(names) == ["DAP_API_URL", "DAP_CLIENT_ID", "DAP_CLIENT_SECRET"]
        answer = requests.post(
            f"{names['DAP_API_URL']}/ids/auth/login",
            data={"grant_type": "client_credentials"},
            auth=(names["DAP_CLIENT_ID"], names["DAP_CLIENT_SECRET"]),
            timeout=30,
        )
        assert answer.ok
        process.send_signal(end)
        rest, log = process.communicate(timeout=30)
        assert (process.returncode, rest, log) == (0, "", "ended well\n")


def test_a_folder_serves_one_sandbox_only(tmp_path: Path) -> None:
    with served(tmp_path) as process:
        announced(process)
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert "is in use by another sandbox" in second.stderr
        assert second.stdout == ""


TABLES = 119
ROWS = 1_700


def many_tables(store: Store, as_of: datetime) -> None:
    for number in range(TABLES):
        table = store.create_table("canvas", f"t{number:03d}", small_school.USER_SCHEMA)
        with store.transaction() as cursor:
            cursor.execute(
                f"INSERT INTO {table.sql_name} SELECT id, 'User ' || id, TIMESTAMP '2026-01-01',"
                f" 'registered', TIMESTAMP '2026-11-20', 'U' FROM range({ROWS}) rows(id)"
            )


def test_119_jobs_run_at_once(tmp_path: Path) -> None:
    def load(table: str) -> dict[str, Any]:
        job: dict[str, Any] = caller.data(table, {"format": "parquet"}).json()
        return caller.await_job(job)

    config = SandboxConfig(tmp_path, rate_limits=False)
    with running_sandbox(config, build=many_tables) as sandbox:
        caller = Caller(sandbox)
        start = time.monotonic()
        with ThreadPoolExecutor(TABLES) as pool:
            jobs = list(pool.map(load, sandbox.service.store.tables("canvas")))
        seconds = time.monotonic() - start
        assert {job["status"] for job in jobs} == {"complete"}
        files = list((tmp_path / "objects").rglob("*.parquet"))
        assert sum(pq.read_metadata(file).num_rows for file in files) == TABLES * ROWS
    # It takes about 4 seconds on two cores; much more means that jobs wait for each other.
    assert seconds < 60
