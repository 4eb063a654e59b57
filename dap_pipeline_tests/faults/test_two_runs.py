"""Two runs of one table at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dap_pipeline.sandbox.faults import ALWAYS, Fault
from dap_pipeline.sandbox.faults_wire import slow
from dap_pipeline.sandbox.limits import Endpoint

from .proving import CRASHES, proves
from .service import School
from .surfaces import expected_rows, published_rows

pytestmark = pytest.mark.slow

# Long enough for the two to meet, whichever starts first.
_SLOWLY = Fault(slow(pieces=10, gap=0.2), (Endpoint.OBJECT,), "users", ALWAYS)


def start(school: School, work: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dap_pipeline.cli", *words, "--json"],
        cwd=work,
        env={**os.environ, **school.environment(work / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def both(school: School, work: Path, verb: str) -> list[str]:
    """Run the same command twice at the same time; tell the outcomes."""
    school.begin(_SLOWLY)
    words = (verb, "--namespace", "canvas", "--table", "users")
    runs = [start(school, work, *words) for _ in range(2)]
    outcomes = []
    for run in runs:
        out, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
        outcomes.append(json.loads(out)[0]["outcome"])
    return sorted(outcomes)


@proves(
    CRASHES,
    "two loads of one table at the same time",
    "The second waits for the first, sees that the job is published, and downloads nothing.",
)
def test_two_loads_of_one_table_fetch_it_once(
    school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert both(school, tmp_path, "load") == ["done", "unchanged"]
    assert school.calls[Endpoint.OBJECT] == 3
    for name, value in school.environment(tmp_path / "data").items():
        monkeypatch.setenv(name, value)
    assert published_rows("users") == expected_rows("users")


@proves(
    CRASHES,
    "two snapshots of one table into one folder at the same time",
    "The second waits for the first and downloads nothing.",
)
def test_two_snapshots_of_one_table_fetch_it_once(school: School, tmp_path: Path) -> None:
    assert both(school, tmp_path, "snapshot") == ["done", "unchanged"]
    assert school.calls[Endpoint.OBJECT] == 3
    files = [f for f in (tmp_path / "downloads").rglob("*") if f.is_file()]
    theirs = {f.read_bytes() for f in (school.folder / "objects").rglob("*") if f.is_file()}
    assert {f.read_bytes() for f in files} == theirs
    assert len(files) == 3
