"""Runs whose steps are processes of their own, with a history on disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dap_pipeline.orchestration.wiring import build_definitions
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import load_settings

from .school import (
    NOTHING,
    USERS,
    WEB_LOGS,
    RefusedTable,
    definitions_for,
    failures_of,
    materialize,
    settings_for,
    small_sandbox,
    words_of,
)

TABLES = [USERS, NOTHING, WEB_LOGS]


def refresh_canvas() -> dg.JobDefinition:
    """What each step's process builds for itself, from its environment."""
    return build_definitions(load_settings()).resolve_job_def("refresh_canvas")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "history"
    folder.mkdir()
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        yield instance


def steps_of(instance: dg.DagsterInstance, run_id: str) -> set[str]:
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
    return {entry.step_key or "" for entry in entries}


@pytest.mark.slow
def test_re_executing_from_failure_takes_up_the_failed_table_only(
    tmp_path: Path, history: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = RefusedTable("users")
    with small_sandbox(tmp_path / "school", refused) as sandbox:
        definitions_for(settings_for(sandbox, tmp_path), monkeypatch)
        job = dg.reconstructable(refresh_canvas)
        with dg.execute_job(job, instance=history) as first:
            assert not first.success
            failed = failures_of(history, first.run_id)
            assert list(failed) == ["canvas__users"]
            assert "uuid" in words_of(failed["canvas__users"])
        refused.mended = True
        options = dg.ReexecutionOptions.from_failure(first.run_id, history)
        one_process = {"execution": {"config": {"in_process": True}}}
        with dg.execute_job(
            job, instance=history, reexecution_options=options, run_config=one_process
        ) as second:
            assert second.success
            assert steps_of(history, second.run_id) == {"canvas__users"}


@pytest.mark.slow
def test_no_secret_token_or_link_is_written_to_dagsters_history(
    tmp_path: Path,
    sandbox: RunningSandbox,
    history: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    definitions = definitions_for(settings_for(sandbox, tmp_path), monkeypatch)
    assert materialize(definitions, TABLES, history).success
    monkeypatch.setenv("DAP_CLIENT_SECRET", "another-secret-that-is-wrong")
    assert not materialize(definitions, TABLES, history).success
    written = {
        file: file.read_bytes() for file in (tmp_path / "history").rglob("*") if file.is_file()
    }
    assert any(b"canvas.users" in content for content in written.values())
    token = re.compile(rb"eyJ[\w-]{20,}\.[\w-]{10,}")
    for file, content in written.items():
        assert sandbox.client_secret.encode() not in content, file
        assert b"another-secret-that-is-wrong" not in content, file
        assert not token.search(content), file
        assert b"x-amz-signature" not in content.lower(), file


@pytest.mark.slow
def test_a_resource_that_is_logged_does_not_show_its_secret(sandbox: RunningSandbox) -> None:
    from dap_pipeline.orchestration.resources import DapResource

    resource = DapResource(
        api_url=sandbox.url,
        client_id=sandbox.client_id,
        client_secret=sandbox.client_secret,
        data_dir=".",
    )
    for text in (str(resource), repr(resource)):
        assert sandbox.client_secret not in text
        assert sandbox.client_id in text
