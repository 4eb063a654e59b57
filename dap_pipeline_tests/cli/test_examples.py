"""The examples of the DAP CLI's own page on snapshots, with only the program's name changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.serve import RunningSandbox, running_sandbox

from .running import shell_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    config = SandboxConfig(tmp_path_factory.mktemp("school"), rate_limits=False, rows=20_000)
    with running_sandbox(config) as running:
        yield running


@pytest.mark.parametrize(
    ("words", "tables"),
    [
        ("snapshot --namespace canvas --table courses", 1),
        ("snapshot --namespace canvas --table courses,users,wikis", 3),
        ("snapshot --namespace canvas --table all", len(load_catalogue().names("canvas"))),
        ("snapshot --namespace canvas_logs --table web_logs --format csv", 1),
        ("snapshot --namespace catalog --table all --format parquet --output-directory out", 28),
    ],
)
def test_an_example_of_the_dap_cli_works(
    school: RunningSandbox, tmp_path: Path, words: str, tables: int
) -> None:
    shell = shell_for(school, tmp_path / "work")
    done = shell.run(*words.split(), "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == tables
    for row in rows:
        files = list((shell.folder / row["folder"]).iterdir())
        assert len(files) == row["files"]
        assert sum(file.stat().st_size for file in files) == row["bytes"]
    assert sum(row["files"] for row in rows) >= tables - 3
