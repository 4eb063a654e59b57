"""The pages of Parquet files are compared while the files arrive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dap_pipeline.dap import arriving as arriving_module
from dap_pipeline.dap.models import Format
from dap_pipeline.dap.parquet_pages import Pages
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.workers import Workers
from dap_pipeline.errors import DamagedObjectError
from dap_pipeline.settings import Verify

from .growing import arriving
from .loads import Loads
from .parquet import with_bit, written
from .scripted import cut, stored


class Watched(Pages):
    """Writes down how many pages each step has compared."""

    steps: list[int]

    def compare(self, stop: Stop) -> None:
        before = len(self._right)
        super().compare(stop)
        Watched.steps.append(len(self._right) - before)


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving_module, "Pages", Watched)
    monkeypatch.setattr(arriving_module, "STEP_BYTES", 10_000)
    Watched.steps = []


@pytest.fixture
def decoders() -> Iterator[Workers]:
    made = Workers(2, "look")
    yield made
    made.close()


@pytest.fixture
def parquet(tmp_path: Path) -> bytes:
    """Give a file of several steps, whose pages have checksums."""
    file = written(tmp_path, compression="none", use_dictionary=False)
    content = file.read_bytes()
    file.unlink()
    return content


def test_pages_are_compared_before_the_rest_of_a_parquet_file_comes(
    tmp_path: Path, decoders: Workers, parquet: bytes
) -> None:
    coming = arriving(tmp_path, decoders, format=Format.PARQUET)
    for start in range(0, len(parquet), 50_000):
        coming.bring(parquet[start : start + 50_000])
        coming.await_step()
    coming.look.finish(Verify.FULL)
    assert len(Watched.steps) > 5
    assert all(compared > 0 for compared in Watched.steps[:3])


def test_a_damaged_page_is_told_at_the_end_and_nothing_is_kept(
    tmp_path: Path, decoders: Workers, parquet: bytes
) -> None:
    coming = arriving(tmp_path, decoders, format=Format.PARQUET)
    coming.bring(with_bit(parquet, 40_000))
    coming.await_step()
    with pytest.raises(DamagedObjectError, match="part cannot be decoded"):
        coming.look.finish(Verify.FULL)
    assert not coming.file.exists()


@pytest.mark.parametrize("after", [3, 30_000, 200_000])
def test_a_parquet_file_that_is_gone_on_with_is_compared_from_its_beginning(
    loads: Loads, parquet: bytes, after: int
) -> None:
    loads.format = Format.PARQUET
    loads.object("o", cut(parquet, after), stored(parquet))
    assert loads.fetch(["o"]) == ["o"]
    assert loads.asked("o")[1].headers["range"] == f"bytes={after}-"
    assert loads.files() == {"o.parquet": parquet}


def test_a_damaged_page_in_what_an_earlier_try_has_left_is_found(
    loads: Loads, parquet: bytes
) -> None:
    loads.format = Format.PARQUET
    damaged = with_bit(parquet, 40_000)
    loads.object("o", cut(damaged, 200_000), stored(parquet), stored(parquet))
    assert loads.fetch(["o"]) == ["o"]
    asked = [seen.headers.get("range") for seen in loads.asked("o")]
    assert asked == [None, "bytes=200000-", None]
    assert loads.files() == {"o.parquet": parquet}
