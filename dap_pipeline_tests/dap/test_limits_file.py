from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dap_pipeline.dap.limits import Endpoint
from dap_pipeline.dap.limits_file import LimitsFile
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import CancelledError, StorageError

from .limiting import calls, limiter


def test_the_file_is_its_owners_and_so_is_the_folder(tmp_path: Path) -> None:
    limiter(tmp_path / "data").acquire(Endpoint.LIST, Stop())
    for path, mode in ((tmp_path / "data", 0o700), (tmp_path / "data" / "limits.sqlite", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"limits\.sqlite"):
        limiter(tmp_path / "file")


def garbage(file: Path) -> None:
    file.write_bytes(b"no database, however one looks at it" * 300)


def zeroed_page(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096:8192] = bytes(4096)
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [garbage, zeroed_page, Path.unlink])
def test_a_file_that_is_damaged_or_lost_is_made_anew_for_all_who_use_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    together, users = threading.Barrier(6), [limiter(tmp_path, most=50) for _ in range(5)]
    users[0].acquire(Endpoint.CREATE, Stop())
    damage(tmp_path / "limits.sqlite")

    def use(number: int) -> None:
        together.wait(60)
        user = users[number] if number < 5 else limiter(tmp_path, most=50)
        user.acquire(Endpoint.CREATE, Stop())

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, range(6)))
    assert len(calls(tmp_path)) == 6
    assert caplog.text.count("was damaged and is made anew") == (damage is not Path.unlink)
    assert stat.S_IMODE((tmp_path / "limits.sqlite").stat().st_mode) == 0o600


def test_who_waits_for_a_file_that_is_made_anew_counts_in_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has opened the old one, and may not write a word of it beside the new one."""
    shared = limiter(tmp_path)
    opened = sqlite3.connect(tmp_path / "limits.sqlite", isolation_level=None)
    garbage(tmp_path / "new")
    (tmp_path / "new").replace(tmp_path / "limits.sqlite")
    limiter(tmp_path)
    made = iter([opened])
    connect = LimitsFile._connect  # the moment between opening and locking
    monkeypatch.setattr(LimitsFile, "_connect", lambda file: next(made, None) or connect(file))
    shared.acquire(Endpoint.CREATE, Stop())
    assert len(calls(tmp_path)) == 1


def test_a_file_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    shared = limiter(tmp_path)
    (tmp_path / "limits.sqlite").unlink()
    (tmp_path / "limits.sqlite").mkdir()
    with pytest.raises(StorageError, match="set DAP_PIPELINE_SHARED_DIR to another folder"):
        shared.acquire(Endpoint.LIST, Stop())


class SecondThoughts(Stop):
    """Stops once it has been looked at."""

    def check(self) -> None:
        super().check()
        self.set()


def test_a_stop_is_heard_while_others_have_the_file(tmp_path: Path) -> None:
    shared = limiter(tmp_path)
    with (
        contextlib.closing(
            sqlite3.connect(tmp_path / "limits.sqlite", isolation_level=None)
        ) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("BEGIN EXCLUSIVE")
        waiting = pool.submit(shared.acquire, Endpoint.LIST, SecondThoughts())
        assert isinstance(waiting.exception(30), CancelledError)
