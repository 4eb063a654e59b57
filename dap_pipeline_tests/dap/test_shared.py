from __future__ import annotations

import errno
import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pytest
from filelock import FileLock
from pydantic import SecretStr

from dap_pipeline.dap import shared as shared_module
from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.shared import SharedPlaces, shared_folder
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import CancelledError
from dap_pipeline.settings import Settings, load_settings

from .parts import WatchedStop

DAP = "https://dap.example.edu"
_HOLDS_ALL = """
import contextlib, sys
from pathlib import Path
from dap_pipeline.dap.shared import SharedPlaces
from dap_pipeline.dap.stopping import Stop
places = SharedPlaces(Path(sys.argv[1]), 2)
with places.taken(Stop()), places.taken(Stop()):
    print("held", flush=True)
    sys.stdin.read()
"""


def settings_in(folder: Path, url: str = DAP, shared: Path | None = None) -> Settings:
    return load_settings(
        api_url=url,
        client_id="id",
        client_secret=SecretStr("word"),
        data_dir=folder,
        shared_dir=shared,
    )


def test_runs_with_other_data_folders_share_the_calls_of_the_last_minute(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    for name in ("one", "two"):
        DapClient.from_settings(settings_in(tmp_path / name, shared=shared))
        assert (shared / "limits.sqlite").exists()
        assert not (tmp_path / name).exists()


def test_without_a_setting_it_is_the_state_folder_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = shared_folder(settings_in(tmp_path / "data"))
    assert found == tmp_path / "state" / "dap_pipeline"
    assert found.stat().st_mode & 0o777 == 0o700
    assert (found / "limits.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_service_on_this_machine_shares_only_its_data_folder(tmp_path: Path) -> None:
    assert shared_folder(settings_in(tmp_path / "data", "http://127.0.0.1:8123")) == (
        tmp_path / "data"
    )


def test_where_the_folder_cannot_be_written_the_data_folder_serves_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    settings = settings_in(tmp_path / "data", shared=tmp_path / "file" / "shared")
    assert shared_folder(settings) == tmp_path / "data"
    assert "Set DAP_PIPELINE_SHARED_DIR to a folder that can be" in caplog.text


def _hold_often(
    folder: Path, count: int, now: Synchronized[int], most: Synchronized[int], times: int
) -> None:
    places = SharedPlaces(folder, count)

    def hold(_: int) -> None:
        with places.taken(Stop()):
            with now.get_lock():
                now.value += 1
                most.value = max(most.value, now.value)
            with now.get_lock():
                now.value -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(times)))


def test_several_processes_together_never_hold_more_places_than_there_are(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    now, most = spawn.Value("i", 0), spawn.Value("i", 0)
    processes = [
        spawn.Process(target=_hold_often, args=(tmp_path, 2, now, most, 100)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (now.value, most.value <= 2, most.value > 0) == (0, True, True)


def test_places_of_another_process_are_waited_for_and_free_when_it_is_killed(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS_ALL, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        places, stop = SharedPlaces(tmp_path, 2), Stop()
        stopped = threading.Timer(0.2, stop.set)
        stopped.start()
        with pytest.raises(CancelledError), places.taken(stop):
            raise AssertionError("a third place was given")
        other.kill()
        other.wait()
    with places.taken(Stop()), places.taken(Stop()):
        pass


def test_who_has_waited_for_a_place_has_it_before_who_just_gave_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_module, "_LINE_SECONDS", 0.0)
    large, small = SharedPlaces(tmp_path, 1), SharedPlaces(tmp_path, 1)
    order: list[str] = []
    stop = WatchedStop()

    def wait() -> None:
        with small.taken(stop):
            order.append("small")

    with ThreadPoolExecutor(1) as pool:
        with large.taken(Stop()):
            waiting = pool.submit(wait)
            assert stop.waiting.wait(60)
        with large.taken(Stop()):
            order.append("large")
        waiting.result(60)
    assert order == ["small", "large"]


def test_a_long_wait_for_a_place_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_module, "_TOLD_SECONDS", 0.0)
    other, places = SharedPlaces(tmp_path, 1), SharedPlaces(tmp_path, 1)
    with other.taken(Stop()), ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            stop = WatchedStop()
            waiting = pool.submit(places.taken(stop).__enter__)
            assert stop.waiting.wait(60)
            stop.set()
            assert isinstance(waiting.exception(60), CancelledError)
    assert caplog.text.count("waiting for a connection: other runs have those") == 1


def test_without_locks_each_process_counts_alone_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    places = SharedPlaces(tmp_path, 2)
    with places.taken(Stop()), places.taken(Stop()):
        pass
    assert caplog.text.count("connections are counted for each process alone") == 1
