from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from pydantic import SecretStr
from rich.console import Console

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.errors import ConfigurationError
from dap_pipeline.lake.tables import Lake
from dap_pipeline.orchestration.demo import run_demo
from dap_pipeline.orchestration.home import home_of, sandbox_settings, school_folder
from dap_pipeline.orchestration.questions import QUESTIONS, ask
from dap_pipeline.settings import Settings, load_settings
from dap_pipeline_tests.cli.running import clean_environment

from .school import failures_of

pytestmark = pytest.mark.begun_first


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A folder whose user has real credentials, which must not be used."""
    monkeypatch.chdir(tmp_path)
    return load_settings(
        api_url="http://127.0.0.1:9",
        client_id="real",
        client_secret=SecretStr("real-secret"),
        data_dir=tmp_path / "data",
        demo_rows=3000,
    )


def demo(settings: Settings) -> str:
    written = io.StringIO()
    assert run_demo(settings, Console(file=written, width=100)) == 0, written.getvalue()
    return written.getvalue()


@pytest.mark.slow
def test_the_demo_loads_registers_and_answers_and_a_second_one_changes_nothing(
    settings: Settings,
) -> None:
    ours = sandbox_settings(settings)
    tables = len(load_catalogue().tables)
    environment = dict(os.environ)
    first = demo(settings)
    assert f"{tables} tables loaded, 0 unchanged, {tables} registered." in first
    for words in (
        *(question.words for question in QUESTIONS),
        str(ours.lake_dir),
        str(ours.warehouse_file),
        "make dev",
    ):
        assert words in first
    assert os.environ == environment
    assert not settings.lake_dir.exists()

    published = Lake(ours.lake_dir).tables()
    for table in published:
        with duckdb.connect(str(ours.warehouse_file), read_only=True) as reader:
            assert reader.execute(f"SELECT count(*) FROM {table.name}").fetchall() == [
                (table.rows,)
            ]
    assert all(ask(ours.warehouse_file, question).rows for question in QUESTIONS)

    second = demo(settings)
    assert f"0 tables loaded, {tables} unchanged, {tables} registered." in second
    assert [t.version for t in Lake(ours.lake_dir).tables()] == [t.version for t in published]
    with dg.DagsterInstance.from_config(str(home_of(ours))) as history:
        runs = history.get_runs()
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
        assert not failures_of(history, runs[0].run_id)


@pytest.mark.slow
def test_the_demo_says_that_the_embedded_service_is_in_use(settings: Settings) -> None:
    folder = str(school_folder(sandbox_settings(settings)))
    command = [sys.executable, "-m", "dap_pipeline.cli", "sandbox", "--folder", folder]
    # In a process of its own, as that of `make dev` is.
    with subprocess.Popen(
        [*command, "--rows", "1000"], stdout=subprocess.PIPE, env=clean_environment(), text=True
    ) as service:
        assert service.stdout
        assert service.stdout.readline().startswith("DAP_API_URL=")
        try:
            with pytest.raises(ConfigurationError, match=r"in use by another.*make dev"):
                demo(settings)
        finally:
            service.terminate()
