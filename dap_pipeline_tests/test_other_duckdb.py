"""The rooms that use DuckDB, on the version that is not pinned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
WANTED = ROOT / "dap_pipeline_tests" / "other-duckdb.txt"
FOLDER = ROOT / ".venv-duckdb"
# Where SQL is written; what is above it calls no DuckDB of its own.
ROOMS = {
    "rewriting": ("lake/rewriting", "lake/test_masking.py", "test_round_trip.py"),
    "merging": ("lake/merging", "lake/test_gate.py", "lake/test_following_logs.py"),
    "reading": ("lake/checking", "warehouse"),
}


@pytest.fixture(scope="module")
def other_duckdb() -> Path:
    """A folder that holds the other DuckDB and nothing else, installed on first use."""
    wanted, mark = WANTED.read_text(), FOLDER / "installed.txt"
    with FileLock(FOLDER.with_suffix(".lock")):
        if not mark.exists() or mark.read_text() != wanted:
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"]
            command = [*install, "--target", str(FOLDER), "--requirement", str(WANTED)]
            subprocess.run(command, check=True)
            mark.write_text(wanted)
    return FOLDER


@pytest.mark.slow
@pytest.mark.begun_first
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ROOMS)
def test_lake_and_warehouse_work_with_the_other_duckdb(other_duckdb: Path, what: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(other_duckdb)}
    version = subprocess.run(
        [sys.executable, "-c", "import duckdb; print(duckdb.__version__)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert f"duckdb=={version}" == WANTED.read_text().strip()
    assert version != duckdb.__version__
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    tests = [str(ROOT / "dap_pipeline_tests" / room) for room in ROOMS[what]]
    done = subprocess.run(
        [*command, "-m", "not slow", *tests],
        cwd=ROOT,
        env={k: v for k, v in environment.items() if not k.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
