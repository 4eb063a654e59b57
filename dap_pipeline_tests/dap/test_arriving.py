"""Files are looked at while they arrive."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dap_pipeline.dap import arriving as arriving_module
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.verify import Unpacking
from dap_pipeline.dap.workers import Workers
from dap_pipeline.errors import DamagedObjectError
from dap_pipeline.settings import Verify

from .growing import arriving
from .loads import BODY, Loads
from .parts import packed
from .scripted import Answer, cut, stored

FIRST = packed(5_000)
WHOLE = FIRST + BODY
# A bit of the first member's checksum.
DAMAGED = FIRST[:-8] + bytes([FIRST[-8] ^ 1]) + FIRST[-7:] + BODY


class Watched(Unpacking):
    """Writes down what each step has decoded, and lets a test hold a step back."""

    steps: list[int]
    most: int
    gate: threading.Event
    _at_once = 0

    def texts(self, stop: Stop) -> Iterator[bytes]:
        self._at_once += 1
        Watched.most = max(Watched.most, self._at_once)
        try:
            assert Watched.gate.wait(60)
            before = self._place
            yield from super().texts(stop)
            Watched.steps.append(self._place - before)
        finally:
            self._at_once -= 1


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving_module, "Unpacking", Watched)
    monkeypatch.setattr(arriving_module, "STEP_BYTES", 10_000)
    Watched.steps, Watched.most, Watched.gate = [], 0, threading.Event()
    Watched.gate.set()


@pytest.fixture
def decoders() -> Iterator[Workers]:
    made = Workers(2, "look")
    yield made
    Watched.gate.set()
    made.close()


def test_what_has_arrived_is_decoded_before_the_rest_comes(
    tmp_path: Path, decoders: Workers
) -> None:
    coming = arriving(tmp_path, decoders)
    coming.bring(WHOLE[:4_000])
    coming.bring(WHOLE[4_000:9_000])
    coming.await_step()
    assert Watched.steps == []
    coming.bring(WHOLE[9_000:40_000])
    coming.await_step()
    assert Watched.steps == [40_000]
    coming.bring(WHOLE[40_000:])
    coming.look.finish(Verify.FULL)
    assert sum(Watched.steps) == len(WHOLE)


def test_no_two_steps_of_a_file_run_at_once_and_none_holds_its_arrival_up(
    tmp_path: Path, decoders: Workers
) -> None:
    coming = arriving(tmp_path, decoders)
    Watched.gate.clear()
    for start in range(0, len(WHOLE), 10_000):
        coming.bring(WHOLE[start : start + 10_000])
    Watched.gate.set()
    coming.look.finish(Verify.FULL)
    assert Watched.most == 1
    assert sum(Watched.steps) == len(WHOLE)


def test_damage_is_told_while_the_rest_is_on_its_way_and_nothing_is_kept(
    tmp_path: Path, decoders: Workers
) -> None:
    coming = arriving(tmp_path, decoders)
    coming.bring(DAMAGED[:20_000])
    coming.await_step()
    with pytest.raises(DamagedObjectError, match="part cannot be unpacked"):
        coming.bring(DAMAGED[20_000:21_000])
    assert not coming.file.exists()


def test_a_look_that_nobody_waits_for_ends(tmp_path: Path, decoders: Workers) -> None:
    coming = arriving(tmp_path, decoders)
    Watched.gate.clear()
    coming.bring(WHOLE[:50_000])
    coming.look.close()
    Watched.gate.set()
    coming.await_step()
    assert Watched.steps == []


class Telling(Workers):
    """Tells how often it was asked for work."""

    def __init__(self) -> None:
        super().__init__(1, "telling")
        self.asked = threading.Semaphore(0)

    def submit(self, job: Callable[[], None]) -> None:
        super().submit(job)
        self.asked.release()


def test_a_step_that_has_not_begun_when_all_is_here_is_left_to_the_end(tmp_path: Path) -> None:
    decoders, other = Telling(), Workers(1, "other")
    coming = arriving(tmp_path, decoders)
    free = threading.Event()
    with contextlib.closing(decoders), contextlib.closing(other):
        decoders.begin(lambda: free.wait(60))
        coming.bring(WHOLE)
        end = other.begin(lambda: coming.look.finish(Verify.FULL))
        for _ in range(3):
            assert decoders.asked.acquire(timeout=60)
        free.set()
        end.result(60)
    assert Watched.steps == [len(WHOLE)]


def test_who_asks_for_size_only_gets_no_step(tmp_path: Path, decoders: Workers) -> None:
    coming = arriving(tmp_path, decoders, Verify.SIZE)
    coming.bring(DAMAGED)
    coming.look.finish(Verify.SIZE)
    assert Watched.steps == []
    with pytest.raises(DamagedObjectError):
        coming.look.finish(Verify.FULL)


def test_a_download_that_is_gone_on_with_is_decoded_from_its_beginning(loads: Loads) -> None:
    loads.object("o", cut(WHOLE, 30_000), stored(WHOLE))
    assert loads.fetch(["o"]) == ["o"]
    assert loads.asked("o")[1].headers["range"] == "bytes=30000-"
    assert loads.files() == {"o.jsonl.gz": WHOLE}
    assert sum(Watched.steps) >= len(WHOLE)


def test_an_object_that_has_changed_meanwhile_is_decoded_from_its_beginning(loads: Loads) -> None:
    other = packed(100_000, seed=2)
    loads.object("o", cut(WHOLE, 60_000), stored(other, '"two"'))
    assert loads.fetch(["o"]) == ["o"]
    assert loads.files() == {"o.jsonl.gz": other}


def test_damage_in_what_an_earlier_try_has_left_is_found(loads: Loads) -> None:
    loads.object("o", cut(DAMAGED, 30_000), stored(WHOLE), stored(WHOLE))
    assert loads.fetch(["o"]) == ["o"]
    assert [seen.headers.get("range") for seen in loads.asked("o")] == [None, "bytes=30000-", None]
    assert loads.files() == {"o.jsonl.gz": WHOLE}


def test_damage_ends_a_download_before_all_of_it_has_come(loads: Loads) -> None:
    large = DAMAGED + packed(8_000_000)
    loads.object("o", Answer(200, large), stored(WHOLE))
    arrived: list[int] = []

    def slowly(count: int) -> None:
        arrived.append(count)
        # Behind the step that this piece may have begun.
        if sum(arrived) > 200_000:
            downloader._decoders.result(lambda: None, Stop())  # a network as slow

    downloader = loads.downloader()
    assert loads.fetch(["o"], downloader, slowly) == ["o"]
    assert sum(arrived) < len(large)
    assert loads.files() == {"o.jsonl.gz": WHOLE}
