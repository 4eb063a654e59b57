from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from dap_pipeline.sandbox.config import SandboxConfig, SandboxError
from dap_pipeline.sandbox.interceptors import Interceptor
from dap_pipeline.sandbox.job_book import Job
from dap_pipeline.sandbox.serve import running_sandbox
from dap_pipeline.sandbox.store import Store

from . import small_school
from .caller import Caller


class Held(Interceptor):
    """Holds jobs back until they are let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def before_job(self, job: Job) -> None:
        self.reached.set()
        assert self.let_go.wait(60)


def test_a_restart_keeps_jobs_objects_links_and_credentials(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path)
    with small_school.running(config) as sandbox:
        before = Caller(sandbox)
        job = before.ended_job("users", format="csv")
        content = before.files(job)
        path = before.links(job)[0].removeprefix(sandbox.url)
    with running_sandbox(config, build=_never) as sandbox:
        after = Caller(sandbox)
        assert after.get(f"/dap/job/{job['id']}").json() == job
        assert after.data("users", {"format": "csv"}).json() == job
        assert after.files(job) == content
        assert requests.get(sandbox.url + path, timeout=30).content == content[0]
        after.token = before.token
        assert after.get("/dap/query/canvas/table").ok


def test_a_job_cut_short_by_a_stop_is_finished_after_the_restart(tmp_path: Path) -> None:
    held = Held()
    config = SandboxConfig(tmp_path, workers=1)
    with small_school.running(config, interceptors=[held]) as sandbox:
        caller = Caller(sandbox)
        caller.data("everything", {"format": "csv"})
        assert held.reached.wait(60)
        waiting = caller.data("users", {"format": "csv"}).json()
        stopper = threading.Thread(target=sandbox.service.jobs.close)
        stopper.start()
        held.let_go.set()
        stopper.join()
    with running_sandbox(config, build=_never) as sandbox:
        assert Caller(sandbox).await_job(waiting)["status"] == "complete"


def test_the_clock_stays_advanced(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path)
    with small_school.running(config, advance=_nothing) as sandbox:
        sandbox.advance(hours=100)
    with running_sandbox(config, build=_never) as sandbox:
        assert sandbox.service.clock.now() - datetime.now(UTC) > timedelta(hours=99)


def test_jobs_that_expired_during_the_stop_are_gone(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path)
    with small_school.running(config) as sandbox:
        job = Caller(sandbox).ended_job("users", format="csv")
        sandbox.service.clock.advance(timedelta(hours=24))
    (tmp_path / "objects" / "left-over").mkdir()
    with running_sandbox(config, build=_never) as sandbox:
        assert Caller(sandbox).get(f"/dap/job/{job['id']}").status_code == 404
        assert list((tmp_path / "objects").iterdir()) == []


def test_a_school_whose_building_broke_off_is_built_anew(tmp_path: Path) -> None:
    def broken(store: Store, as_of: datetime) -> None:
        store.create_table("canvas", "users", small_school.USER_SCHEMA)
        raise KeyError(as_of)

    config = SandboxConfig(tmp_path)
    with pytest.raises(KeyError), running_sandbox(config, build=broken):
        pass
    with small_school.running(config) as sandbox:
        assert Caller(sandbox).get("/dap/query/canvas/table").ok


def test_a_school_is_built_as_of_the_last_full_4_hours(tmp_path: Path) -> None:
    asked: list[datetime] = []
    config = SandboxConfig(tmp_path / "default")
    with running_sandbox(config, build=lambda _, as_of: asked.append(as_of)) as sandbox:
        now = sandbox.service.clock.now()
        assert sandbox.service.store.school_committed_at() == asked[0]
    assert timedelta() <= now - asked[0] < timedelta(hours=4, minutes=1)
    assert (asked[0].hour % 4, asked[0].minute, asked[0].second) == (0, 0, 0)
    config = SandboxConfig(tmp_path / "given", as_of=small_school.COMMITTED_AT)
    with running_sandbox(config, build=lambda _, as_of: asked.append(as_of)):
        assert asked[1] == small_school.COMMITTED_AT


def test_two_sandboxes_cannot_share_a_port(tmp_path: Path) -> None:
    with small_school.running(SandboxConfig(tmp_path / "a")) as first:
        port = int(first.url.rsplit(":", 1)[1])
        second = SandboxConfig(tmp_path / "b", port=port)
        with (
            pytest.raises(SandboxError, match=rf"^Port {port} of 127.0.0.1 is in use: [^.]+\.$"),
            small_school.running(second),
        ):
            pass


def test_everything_in_the_folder_is_its_owners(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox"
    with small_school.running(SandboxConfig(folder)) as sandbox:
        Caller(sandbox).ended_job("users", format="csv")
        sandbox.service.clock.advance(timedelta(minutes=1))
        # DuckDB makes its log anew now and then with the usual rights: the folder shuts it off.
        kept = [path for path in folder.rglob("*") if path.suffix != ".wal"]
        modes = {path: path.stat().st_mode & 0o077 for path in [folder, *kept]}
        assert sandbox.client_secret in (folder / "credentials.json").read_text()
    assert [path for path, open_to_others in modes.items() if open_to_others] == []


def test_no_secret_is_shown_by_accident(tmp_path: Path) -> None:
    with small_school.running(SandboxConfig(tmp_path)) as sandbox:
        assert sandbox.client_secret not in repr(sandbox)
        assert sandbox.client_secret not in repr(sandbox.service.tokens)
        assert sandbox.service.links.signing_key not in repr(sandbox.service.links)


def _never(store: Store, as_of: datetime) -> None:
    raise AssertionError("the school is there already")


def _nothing(store: Store, now: datetime) -> None:
    """A school in which time passes and nothing happens."""
