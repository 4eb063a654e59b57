from __future__ import annotations

import contextlib
import logging
import resource
import stat
import threading
from collections.abc import Callable

import pytest

from dap_pipeline.dap import patience as patience_module
from dap_pipeline.dap import stages as stages_module
from dap_pipeline.dap.patience import Patience
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.verify import Unpacking
from dap_pipeline.dap.workers import Places
from dap_pipeline.errors import (
    DamagedObjectError,
    LinkExpiredError,
    StorageError,
    UnreachableError,
)
from dap_pipeline.settings import Verify

from .loads import BODY, Loads, await_threads, download_threads
from .parts import HASTY, ONCE, SECRET, Clock, packed
from .scripted import Answer, Reply, Seen, Then, cut, stored

WRONG = bytearray(BODY)
WRONG[50_000] ^= 1
DAMAGED = bytes(WRONG)


def test_every_object_becomes_a_file_of_its_owners_only(loads: Loads) -> None:
    bodies = {f"o{number}": packed(3_000, seed=number) for number in range(10)}
    for name, body in bodies.items():
        loads.object(name, stored(body))
    assert sorted(loads.fetch(list(bodies))) == sorted(bodies)
    assert loads.files() == {f"{name}.jsonl.gz": body for name, body in bodies.items()}
    for file in loads.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert loads.signed == 1


def test_nothing_to_fetch_is_no_trouble(loads: Loads) -> None:
    assert loads.fetch([]) == []


def test_a_target_is_told_when_its_file_is_there(loads: Loads) -> None:
    gate = threading.Event()
    loads.object("late", Answer(200, BODY, gate=gate))
    loads.object("early", stored(BODY))
    arrived = []
    for target in loads.fetching(["late", "early"]):
        assert target.path.read_bytes() == BODY
        arrived.append(target.object_id)
        gate.set()
    assert arrived == ["early", "late"]


def test_nothing_lies_under_the_final_name_before_it_is_checked(loads: Loads) -> None:
    early: list[bool] = []
    target = loads.target("o")
    loads.object("o", cut(BODY, 40_000), Answer(200, DAMAGED), stored(BODY))
    loads.fetch(["o"], on_bytes=lambda _: early.append(target.path.exists()))
    assert early
    assert not any(early)
    assert loads.files() == {"o.jsonl.gz": BODY}


def test_the_store_sees_neither_secret_nor_token(loads: Loads) -> None:
    loads.object("o", cut(BODY, 40_000), Answer(302, headers={"Location": "/objects/other"}))
    loads.object("other", stored(BODY))
    loads.fetch(["o"])
    for seen in loads.asked("o") + loads.asked("other"):
        assert set(seen.headers) <= {
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
            "connection",
            "range",
            "if-range",
        }
        assert SECRET not in str(seen)
        assert "token-1" not in str(seen)


def test_links_are_in_no_log(loads: Loads, caplog: pytest.LogCaptureFixture) -> None:
    loads.object("o", cut(BODY, 40_000), Answer(403, b"<Error/>"), stored(BODY))
    with caplog.at_level(logging.DEBUG):
        loads.fetch(["o"])
    assert "GET /objects/o" in caplog.text
    assert "c0ffee" not in caplog.text


def test_a_download_that_was_cut_is_gone_on_with(loads: Loads) -> None:
    loads.object("o", cut(BODY, 30_000), stored(BODY))
    assert loads.fetch(["o"]) == ["o"]
    assert [seen.headers.get("range") for seen in loads.asked("o")] == [None, "bytes=30000-"]
    assert loads.files() == {"o.jsonl.gz": BODY}


def test_another_process_goes_on_where_the_first_has_stopped(loads: Loads) -> None:
    loads.object("o", cut(BODY, 30_000), stored(BODY))
    with pytest.raises(UnreachableError):
        loads.fetch(["o"], loads.downloader(patience=ONCE))
    assert loads.files() == {".00000.partial": BODY[:30_000], ".00000.partial.etag": b'"one"'}
    assert loads.fetch(["o"], loads.downloader()) == ["o"]
    assert loads.asked("o")[1].headers["range"] == "bytes=30000-"
    assert loads.files() == {"o.jsonl.gz": BODY}


def test_a_link_that_has_ended_is_renewed(loads: Loads) -> None:
    loads.object("o", cut(BODY, 30_000), Answer(403, b"<Error/>"), stored(BODY))
    assert loads.fetch(["o"]) == ["o"]
    queries = [seen.query for seen in loads.asked("o")]
    assert queries == ["sig=c0ffee1", "sig=c0ffee1", "sig=c0ffee2"]
    assert loads.asked("o")[2].headers["range"] == "bytes=30000-"


def test_a_store_that_refuses_every_link_is_an_error(loads: Loads) -> None:
    loads.server.always("/objects/o", Answer(403, b"<Error/>"))
    patience = Patience(first_wait=0.01, total=0.05)
    with pytest.raises(LinkExpiredError):
        loads.fetch(["o"], loads.downloader(patience=patience))
    assert loads.signed == len(loads.asked("o"))


def test_a_damaged_object_is_fetched_anew(loads: Loads) -> None:
    loads.object("o", Answer(200, DAMAGED), Answer(200, BODY[:-20]), stored(BODY))
    assert loads.fetch(["o"]) == ["o"]
    assert "range" not in loads.asked("o")[2].headers
    assert loads.files() == {"o.jsonl.gz": BODY}


def test_an_object_that_is_always_damaged_is_given_up_and_leaves_nothing(loads: Loads) -> None:
    loads.server.always("/objects/o", Answer(200, DAMAGED, {"ETag": '"one"'}))
    with pytest.raises(DamagedObjectError):
        loads.fetch(["o"])
    assert len(loads.asked("o")) == HASTY.damaged_tries
    assert loads.files() == {}


def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], Reply]:
    """Let each answer take longer, by a stopped clock, than patience lasts."""
    clock = Clock()
    monkeypatch.setattr(patience_module, "time", clock)

    def taking_long(answer: Answer) -> Reply:
        def reply(_: Seen) -> Answer:
            clock.now += 2 * HASTY.total
            return answer

        return reply

    return taking_long


def test_damage_that_took_long_to_find_is_worth_a_second_try(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole download may take longer than patience lasts."""
    damaged = slow(monkeypatch)(Answer(200, DAMAGED))
    loads.object("o", damaged, damaged, stored(BODY))
    assert loads.fetch(["o"]) == ["o"]


def test_progress_starts_patience_anew(loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = [cut(BODY, 10_000)]
    for end in range(20_000, 90_000, 10_000):
        part = BODY[end - 10_000 : end]
        place = f"bytes {end - 10_000}-{len(BODY) - 1}/{len(BODY)}"
        headers = {"ETag": '"one"', "Content-Range": place}
        cuts.append(Answer(206, part, headers, len(BODY) - end + 10_000, Then.CLOSE))
    loads.object("o", *map(slow(monkeypatch), cuts), stored(BODY))
    assert loads.fetch(["o"]) == ["o"]
    assert loads.files() == {"o.jsonl.gz": BODY}


def test_the_wait_for_a_connection_does_not_use_up_patience(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may download for hours in between."""
    clock = Clock()
    taken = Places.taken

    def late(places: Places, stop: Stop) -> contextlib.AbstractContextManager[None]:
        clock.now += 2 * HASTY.total
        return taken(places, stop)

    for module in (patience_module, stages_module):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(Places, "taken", late)
    loads.object("o", *[Answer(503)] * 3, stored(BODY))
    assert loads.fetch(["o"]) == ["o"]


def test_a_download_that_gets_no_further_ends(loads: Loads) -> None:
    loads.server.always("/objects/o", cut(BODY, 10_000, etag=None))
    patience = Patience(first_wait=0.01, longest_wait=0.02, total=0.1)
    with pytest.raises(UnreachableError):
        loads.fetch(["o"], loads.downloader(patience=patience))
    assert 2 <= len(loads.asked("o")) < 60


def test_who_asks_for_size_only_gets_no_decoding(loads: Loads) -> None:
    loads.object("o", Answer(200, DAMAGED))
    assert loads.fetch(["o"], loads.downloader(verify=Verify.SIZE)) == ["o"]


def test_a_file_of_unknown_size_is_decoded_even_then(loads: Loads) -> None:
    loads.object("o", Answer(200, BODY[:-9], length=None), Answer(200, BODY, length=None))
    assert loads.fetch(["o"], loads.downloader(verify=Verify.SIZE)) == ["o"]
    assert loads.files() == {"o.jsonl.gz": BODY}


def test_a_page_of_a_proxy_is_no_file_even_then(loads: Loads) -> None:
    loads.server.always("/objects/o", Answer(200, b"<html>Sign in</html>"))
    with pytest.raises(DamagedObjectError, match="is not a gzip file"):
        loads.fetch(["o"], loads.downloader(verify=Verify.SIZE))
    assert loads.files() == {}


def test_a_full_disk_is_told_and_ends_the_run(loads: Loads) -> None:
    large = packed(2_000_000)
    loads.object("o", stored(large))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel refuses to let a file grow beyond this, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written: File too large") as caught:
            loads.fetch(["o"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.ends_run
    assert set(loads.files()) == {".00000.partial", ".00000.partial.etag"}


def test_a_folder_that_is_gone_is_told(loads: Loads) -> None:
    loads.folder.rmdir()
    loads.object("o", stored(BODY))
    with pytest.raises(StorageError, match="cannot be written"):
        loads.fetch(["o"])


def test_threads_end_when_the_downloader_is_closed(loads: Loads) -> None:
    loads.object("o", stored(BODY))
    downloader = loads.downloader()
    loads.fetch(["o"], downloader)
    assert download_threads()
    downloader.close()
    await_threads()


def test_connections_fetch_other_files_while_some_are_decoded(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_asked = threading.Event()

    def slowly(_: Unpacking) -> None:
        assert third_asked.wait(60)

    def third(seen: Seen) -> Answer:
        third_asked.set()
        return stored(BODY)(seen)

    monkeypatch.setattr(Unpacking, "end", slowly)
    for name in ("one", "two"):
        loads.object(name, stored(BODY))
    loads.object("three", third)
    fetched = loads.fetch(["one", "two", "three"], loads.downloader(connections=2))
    assert sorted(fetched) == ["one", "three", "two"]
    # The third went over one of the two, and the call for the links over one to the API.
    assert len(loads.server.connections_made) == 3
