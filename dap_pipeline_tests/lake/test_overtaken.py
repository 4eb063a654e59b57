"""Loads that race, are killed, or find the table changed by others end in a whole table."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dap_pipeline.dap.progress import Progress, Stage
from dap_pipeline.errors import ConcurrentLoadError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.merging.merge import ChangeCounts
from dap_pipeline.lake.records import LoadKind, LoadMode, LoadResult, Outcome
from dap_pipeline.sandbox.serve import RunningSandbox

from .following import USERS, Follower, rows_of, settings_for


@pytest.fixture
def follower(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Follower]:
    with Engine.open(settings_for(sandbox, tmp_path)) as engine:
        yield Follower(sandbox, engine)


@pytest.fixture
def rival(sandbox: RunningSandbox, follower: Follower, tmp_path: Path) -> Iterator[Follower]:
    """Another machine that loads into the same lake, with its own staging and locks."""
    with Engine.open(settings_for(sandbox, tmp_path / "rival")) as engine:
        engine.lake = engine._loader._lake = follower.engine.lake
        yield Follower(sandbox, engine)


def load_and_meanwhile(
    follower: Follower, meanwhile: Callable[[], object], times: int = 1
) -> LoadResult:
    """Load, and have something done each time between the job and the commit."""
    left = times

    def listener(progress: Progress) -> None:
        nonlocal left
        if progress.stage is Stage.REWRITING and left:
            left -= 1
            meanwhile()

    return follower.engine.load(USERS, mode=LoadMode.AUTO, listener=listener)


def test_two_loads_of_the_same_changes_apply_them_once(follower: Follower, rival: Follower) -> None:
    follower.load()
    follower.change("insert", 3)
    result = load_and_meanwhile(follower, rival.load)
    assert (result.outcome, result.table.version) == (Outcome.LOADED, 1)
    assert follower.check().load.counts == ChangeCounts(3, 0, 0, 0)
    assert _recorded(follower.engine) == [(1, "insert", 3)]


def test_a_load_that_a_snapshot_overtakes_finds_it_done(
    follower: Follower, rival: Follower
) -> None:
    follower.load()
    follower.change("update", 3, hours=25)
    result = load_and_meanwhile(follower, lambda: rival.load(LoadMode.SNAPSHOT))
    assert (result.outcome, result.table.version) == (Outcome.UNCHANGED, 1)
    assert follower.check().load.kind is LoadKind.SNAPSHOT


def test_an_overtaken_load_applies_its_changes_to_what_the_other_one_published(
    follower: Follower, rival: Follower
) -> None:
    follower.load()
    follower.change("insert", 3, hours=25)

    def overtake() -> None:
        rival.load(LoadMode.SNAPSHOT)
        follower.change("delete", 2)

    result = load_and_meanwhile(follower, overtake)
    assert (result.table.version, result.counts) == (2, ChangeCounts(0, 0, 2, 0))
    follower.check()


def test_a_version_that_is_restored_meanwhile_is_what_changes_are_applied_to(
    follower: Follower,
) -> None:
    follower.load()
    follower.change("insert", 3)
    follower.load()
    follower.change("delete", 2)
    result = load_and_meanwhile(follower, lambda: follower.engine.lake.restore(USERS, 0))
    # What the first increment brought comes once more.
    assert result.counts is not None
    assert (result.counts.inserted, result.counts.deleted) == (3, 2)
    follower.check()
    assert follower.load().outcome is Outcome.UNCHANGED


def test_a_load_that_is_overtaken_each_time_gives_up(follower: Follower) -> None:
    follower.load()
    follower.change("insert", 3)
    with pytest.raises(ConcurrentLoadError, match="Run it again"):
        load_and_meanwhile(follower, lambda: follower.engine.lake.restore(USERS, 0), times=99)
    assert follower.table().rows == 60
    follower.load()
    follower.check()


_KILLED = """
import os, signal, sys
from dap_pipeline.lake import {module}
from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import LoadMode
from dap_pipeline.settings import load_settings

real = {place}

def killed(*given, **more):
    if {after}:
        real(*given, **more)
    os.kill(os.getpid(), signal.SIGKILL)

with Engine.open(load_settings()) as engine:
    {place} = killed
    engine.load(TableName("canvas", "users"), mode=LoadMode.AUTO)
"""
_PLACES = {
    "before anything is moved": ("publishing", "publishing._move_and_commit", False),
    "when all is moved": ("publishing", "publishing.replace", False),
    "after the commit": ("publishing", "publishing.replace", True),
    "before the changes are recorded": ("changes_table", "changes_table._Settling.commit", False),
    "after the changes are recorded": ("changes_table", "changes_table._Settling.commit", True),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", _PLACES)
def test_a_killed_load_leaves_the_old_version_or_the_new_one(
    sandbox: RunningSandbox, tmp_path: Path, place: str
) -> None:
    settings = settings_for(sandbox, tmp_path)
    with Engine.open(settings) as engine:
        follower = Follower(sandbox, engine)
        follower.load()
        follower.change("insert", 3)
        module, function, after = _PLACES[place]
        script = _KILLED.format(module=module, place=function, after=after)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **_variables(sandbox, settings.data_dir)},
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL
        assert follower.table().rows in (60, 63)
        follower.load()
        follower.check()
        follower.change("delete", 2)
        follower.load()
        follower.check()
        assert _recorded(engine) == [(1, "insert", 3), (2, "delete", 2)]
        engine.lake.vacuum(USERS, timedelta())
        follower.check()


def _variables(sandbox: RunningSandbox, data: Path) -> dict[str, str]:
    return {
        "DAP_API_URL": sandbox.url,
        "DAP_CLIENT_ID": sandbox.client_id,
        "DAP_CLIENT_SECRET": sandbox.client_secret,
        "DAP_PIPELINE_DATA_DIR": str(data),
        "DAP_PIPELINE_CREATES_PER_MINUTE": "10000",
    }


def _recorded(engine: Engine) -> list[tuple[Any, ...]]:
    rows = rows_of(engine.lake.changes(USERS), "load_version, change")
    return [(*row, rows.count(row)) for row in sorted(set(rows))]


def test_a_lake_on_another_file_system_is_published_to(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    follower.load()
    follower.change("update", 3)
    follower.load()
    table = follower.check()
    assert all(Path(file).stat().st_mode & 0o077 == 0 for file in table.files)
    folder = follower.engine.lake.folder(USERS)
    assert not list(folder.glob(".*")), "drafts are left"
