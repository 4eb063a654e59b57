"""A lake belongs to one DAP service, and says clearly when it cannot be written."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dap_pipeline.errors import StorageError, WrongOriginError
from dap_pipeline.lake.tables import Lake


def test_a_lake_takes_the_data_of_one_service_only(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.claim("api.example.edu")
    lake.claim("api.example.edu")
    with pytest.raises(
        WrongOriginError, match=r"holds the data of api\.example\.edu, not of other"
    ):
        Lake(tmp_path / "lake").claim("other.example.edu")
    assert [path.name for path in lake.root.iterdir()] == ["origin.json"]


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"origin": 5}', "[]"])
def test_a_mark_that_cannot_be_read_is_not_overwritten(tmp_path: Path, text: str) -> None:
    mark = tmp_path / "origin.json"
    mark.write_text(text)
    with pytest.raises(StorageError, match="does not say which DAP service"):
        Lake(tmp_path).claim("api.example.edu")
    assert mark.read_text() == text


def test_of_two_services_at_the_same_time_one_gets_the_lake(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    claimed: list[str] = []

    def claim(service: str) -> None:
        start.wait()
        try:
            Lake(tmp_path / "lake").claim(service)
            claimed.append(service)
        except WrongOriginError:
            pass

    threads = [threading.Thread(target=claim, args=(f"service-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 1


def test_a_lake_that_can_be_written_stays_as_it_was(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "deep" / "lake")
    lake.check_writable()
    assert list(lake.root.iterdir()) == []
    assert lake.root.stat().st_mode & 0o777 == 0o700


def test_a_lake_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"could not write into the lake .*: Not a directory"):
        Lake(tmp_path / "file" / "lake").check_writable()
    with pytest.raises(StorageError, match=r"Set DAP_PIPELINE_DATA_DIR to a path without"):
        Lake(tmp_path / "50%").check_writable()
