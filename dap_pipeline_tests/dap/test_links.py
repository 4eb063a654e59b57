from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dap_pipeline.dap import links as links_module
from dap_pipeline.dap.links import BATCH, LinkBook
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import NotFoundError

from .parts import LINKS, Clock, client_of
from .scripted import Answer, ScriptedServer, Seen, fails, says

IDS = [f"job-1/part-{number:05d}" for number in range(BATCH + 50)]


class Signer:
    """Signs what is asked for, each time with a new signature; leaves some out."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.without: set[str] = set()

    def __call__(self, seen: Seen) -> Answer:
        ids = [each["id"] for each in seen.json]
        self.asked.append(ids)
        number = len(self.asked)
        urls = {i: {"url": f"https://store.example/{i}?sig={number}"} for i in ids}
        return says({"urls": {i: u for i, u in urls.items() if i not in self.without}})


@pytest.fixture
def signer(server: ScriptedServer) -> Signer:
    server.logs_in()
    made = Signer()
    server.always(LINKS, made)
    return made


def book(server: ScriptedServer, folder: Path, ids: list[str] = IDS) -> LinkBook:
    return LinkBook(client_of(server.url, folder), ids, Stop())


def test_links_are_asked_for_in_batches_and_when_they_are_needed(
    server: ScriptedServer, signer: Signer, tmp_path: Path
) -> None:
    links = book(server, tmp_path)
    assert signer.asked == []
    for object_id in reversed(IDS[:BATCH]):
        assert links.url(object_id) == f"https://store.example/{object_id}?sig=1"
    assert signer.asked == [IDS[:BATCH]]
    assert links.url(IDS[BATCH]).endswith("?sig=2")
    assert signer.asked[1] == IDS[BATCH:]


def test_a_link_for_every_object_is_given(
    server: ScriptedServer, signer: Signer, tmp_path: Path
) -> None:
    assert list(book(server, tmp_path).urls()) == IDS
    assert len(signer.asked) == 2


def test_an_object_that_is_named_twice_is_asked_for_once(
    server: ScriptedServer, signer: Signer, tmp_path: Path
) -> None:
    assert list(book(server, tmp_path, ["a", "b", "a"]).urls()) == ["a", "b"]
    assert signer.asked == [["a", "b"]]


def test_a_link_that_the_store_refused_is_asked_for_anew(
    server: ScriptedServer, signer: Signer, tmp_path: Path
) -> None:
    links = book(server, tmp_path, ["a", "b", "c"])
    links.url("a")
    links.forget("b")
    assert links.url("a").endswith("sig=1")
    assert links.url("b").endswith("sig=2")
    assert signer.asked == [["a", "b", "c"], ["a", "b", "c"]]


def test_a_link_is_renewed_before_its_end(
    server: ScriptedServer, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The documented 15 minutes are too long for a test.
    monkeypatch.setattr(links_module, "FRESH_SECONDS", -1.0)
    links = book(server, tmp_path, ["a"])
    assert links.url("a").endswith("sig=1")
    assert links.url("a").endswith("sig=2")


def test_the_age_of_a_link_counts_from_the_answer_and_not_from_the_queue_before_it(
    server: ScriptedServer, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(links_module, "time", clock)

    def late(seen: Seen) -> Answer:
        clock.now += 2 * links_module.FRESH_SECONDS
        return signer(seen)

    server.always(LINKS, late)
    links = book(server, tmp_path, ["a"])
    assert links.url("a") == links.url("a")
    clock.now += links_module.FRESH_SECONDS + 1.0
    assert links.url("a").endswith("sig=2")


def test_an_object_without_a_link_is_not_found(
    server: ScriptedServer, signer: Signer, tmp_path: Path
) -> None:
    links = book(server, tmp_path, ["a", "b"])
    signer.without = {"b"}
    assert links.url("a").endswith("sig=1")
    with pytest.raises(NotFoundError) as caught:
        links.url("b")
    assert caught.value.kind == "object"


def test_a_link_that_was_refused_does_not_come_back_when_dap_gives_no_other(
    server: ScriptedServer, signer: Signer, tmp_path: Path
) -> None:
    links = book(server, tmp_path, ["a"])
    links.url("a")
    links.forget("a")
    signer.without = {"a"}
    with pytest.raises(NotFoundError):
        links.url("a")


def test_an_old_link_is_not_given_when_dap_has_no_new_one(
    server: ScriptedServer, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The documented 15 minutes are too long for a test.
    monkeypatch.setattr(links_module, "FRESH_SECONDS", -1.0)
    links = book(server, tmp_path, ["a"])
    links.url("a")
    signer.without = {"a"}
    with pytest.raises(NotFoundError):
        links.url("a")


def test_objects_that_have_vanished_are_not_found(server: ScriptedServer, tmp_path: Path) -> None:
    server.logs_in()
    server.on(LINKS, fails(404, "ObjectNotFound", kind="object", id="a"))
    with pytest.raises(NotFoundError) as caught:
        book(server, tmp_path, ["a"]).url("a")
    assert caught.value.kind == "object"


def test_threads_that_want_a_link_at_the_same_time_ask_once(
    server: ScriptedServer, signer: Signer, tmp_path: Path
) -> None:
    links = book(server, tmp_path, ["a"])
    together = threading.Barrier(8)

    def ask(_: int) -> str:
        together.wait(60)
        return links.url("a")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert signer.asked == [["a"]]


def test_a_book_of_links_shows_none(server: ScriptedServer, signer: Signer, tmp_path: Path) -> None:
    links = book(server, tmp_path, ["a"])
    links.url("a")
    assert "sig=" not in repr(vars(links))
