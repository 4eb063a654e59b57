"""Disks that are full at any write."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dap_pipeline.dap.progress import Listener, Progress, Stage, silent
from dap_pipeline.errors import DapPipelineError, StorageError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.tables import Lake
from dap_pipeline.settings import load_settings

from .generations import Generations, running_generations
from .killing import USERS, Killer, Order, killer
from .proving import CRASHES, proves
from .surfaces import published_rows

pytestmark = pytest.mark.slow

_PAGE = 4096


@pytest.fixture
def large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Generations]:
    """A service whose parts are larger than all other files of a load, unless told otherwise."""
    with running_generations(tmp_path / "service", getattr(request, "param", 32)) as running:
        for name, value in running.environment(tmp_path / "data").items():
            monkeypatch.setenv(name, value)
        yield running


def load(listener: Listener = silent) -> DapPipelineError | None:
    """Load the table; tell what stopped it."""
    try:
        with Engine.open(load_settings()) as engine:
            engine.load(USERS, listener=listener)
    except DapPipelineError as error:
        return error
    return None


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk that can be made smaller and larger."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here ({mounted.stderr.strip()}): see the other test")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(folder: Path, pages: int) -> None:
    """Give the disk another size."""
    size = f"remount,size={pages * _PAGE}"
    subprocess.run(["mount", "-o", size, str(folder)], check=True)


def pages_used(folder: Path) -> int:
    return sum(-(-f.stat().st_size // _PAGE) for f in folder.rglob("*") if f.is_file())


@proves(
    CRASHES,
    "a disk that is full at any write",
    "The load fails and says that the disk is full; the published table stays as it was. With "
    "more room, the next run finishes.",
)
@pytest.mark.parametrize(
    ("large", "step", "places"),
    [
        (0, 1, {"could not write into the lake", "rate limiter"}),
        (32, 6, {"/staging/", "could not rewrite"}),
    ],
    ids=["small parts", "large parts"],
    indirect=["large"],
)
def test_a_full_disk_leaves_the_old_table(
    large: Generations,
    step: int,
    places: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk):
        monkeypatch.setenv("DAP_PIPELINE_DATA_DIR", str(disk / "data"))
        large.prepare()
        assert load() is None
        used = pages_used(disk)
        large.step()
        large.prepare()
        refused = []
        for room in range(0, 400, step):
            resize(disk, used + room)
            error = load()
            if error is None:
                break
            assert isinstance(error, StorageError), repr(error)
            assert str(error).endswith(StorageError.advice)
            assert published_rows("users") == large.rows(0)
            refused.append(str(error))
        assert places == {place for place in places if any(place in text for text in refused)}
        assert published_rows("users") == large.rows(1)


@proves(
    CRASHES,
    "a disk that is full at the commit",
    "The same; a commit that did not get through leaves no trace that a reader sees.",
)
def test_a_disk_that_is_full_at_the_commit_leaves_the_old_table(
    generations: Generations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk):
        monkeypatch.setenv("DAP_PIPELINE_DATA_DIR", str(disk / "data"))
        generations.prepare()
        assert load() is None
        generations.step()
        generations.prepare()
        error = load(Shrinking(disk, 0))
        assert isinstance(error, StorageError), repr(error)
        assert "could not rewrite" in str(error)
        assert published_rows("users") == generations.rows(0)
        resize(disk, 4096)
        with pytest.MonkeyPatch.context() as patch:
            publish = Lake.publish

            def shrunk(self: Lake, *args: Any, **kwargs: Any) -> PublishedTable:
                resize(disk, pages_used(disk))
                return publish(self, *args, **kwargs)

            patch.setattr(Lake, "publish", shrunk)
            error = load()
        assert isinstance(error, StorageError), repr(error)
        assert "could not commit" in str(error) or "write into" in str(error)
        assert published_rows("users") == generations.rows(0)
        resize(disk, 4096)
        assert load() is None
        assert published_rows("users") == generations.rows(1)


@dataclass(frozen=True)
class Shrinking:
    """Leaves the disk so many pages more than are used, when all parts are there."""

    disk: Path
    room: int

    def __call__(self, progress: Progress) -> None:
        if progress.stage is Stage.REWRITING:
            resize(self.disk, pages_used(self.disk) + self.room)


@proves(
    CRASHES,
    "files that may not grow further, at any size",
    "The same.",
)
def test_a_quota_leaves_the_old_table(large: Generations, tmp_path: Path) -> None:
    with killer(large.environment(tmp_path / "data"), tmp_path) as loads:
        large.prepare()
        assert loads.load().word == "done"
        large.step()
        large.prepare()
        refused = [_refused(loads, large, size) for size in _SIZES]
        for place in ("could not write into the lake", "rate limiter", "/staging/"):
            assert any(place in text for text in refused), place
        assert loads.load().word == "done"
    assert published_rows("users") == large.rows(1)


_SIZES = (0, 100, 1000, 4096, 8192, 20_000, 40_000, 60_000, 80_000, 100_000, 120_000)


def _refused(loads: Killer, generations: Generations, size: int) -> str:
    """Load where no file may be larger; tell what the load said if it failed."""
    result = loads.load(Order(largest_file=size))
    assert result.word == "StorageError", result
    assert published_rows("users") == generations.rows(0)
    return result.text
