from __future__ import annotations

import contextlib
import stat
import traceback
from pathlib import Path

import pytest

from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.transfer import discard, transfer
from dap_pipeline.errors import (
    DamagedObjectError,
    DapPipelineError,
    DownloadError,
    LinkExpiredError,
    NotFoundError,
    ServerError,
    UnreachableError,
)

from .fetching import BODY, SIGNED, Fetching
from .parts import http_to, packed
from .scripted import LOST, Answer, ScriptedServer, Then, cut, stored


def test_an_object_is_fetched_as_it_is_stored(server: ScriptedServer, fetching: Fetching) -> None:
    server.on("/o", stored(BODY))
    assert fetching.fetch()
    assert fetching.file.read_bytes() == BODY
    assert sum(fetching.arrived) == len(BODY)
    (seen,) = server.seen
    assert seen.query == SIGNED
    assert seen.headers["accept-encoding"] == "identity"
    assert "range" not in seen.headers


def test_the_file_is_its_owners_only(server: ScriptedServer, fetching: Fetching) -> None:
    server.on("/o", stored(BODY), stored(BODY, '"two"'), cut(BODY, 10, etag='"three"'))
    for _ in range(2):
        fetching.fetch()
        assert stat.S_IMODE(fetching.file.stat().st_mode) == 0o600
        fetching.etag.write_text('"other"')
    with contextlib.suppress(UnreachableError):
        fetching.fetch()
    assert stat.S_IMODE(fetching.file.stat().st_mode) == 0o600


def test_a_body_that_was_cut_is_gone_on_with(server: ScriptedServer, fetching: Fetching) -> None:
    server.on("/o", cut(BODY, 40_000), stored(BODY))
    with pytest.raises(UnreachableError, match="broke"):
        fetching.fetch()
    assert fetching.file.read_bytes() == BODY[:40_000]
    assert fetching.fetch()
    assert fetching.file.read_bytes() == BODY
    again = server.seen[1].headers
    assert (again["range"], again["if-range"]) == ("bytes=40000-", '"one"')
    assert sum(fetching.arrived) == len(BODY)


def test_a_body_that_stalls_is_cut_and_gone_on_with(server: ScriptedServer, tmp_path: Path) -> None:
    fetching = Fetching(server, tmp_path, idle_timeout=1.0)
    server.on("/o", cut(BODY, 40_000, Then.STALL), stored(BODY))
    with pytest.raises(UnreachableError, match="ReadTimeoutError"):
        fetching.fetch()
    assert fetching.file.read_bytes() == BODY[:40_000]
    fetching.http = http_to(server.url)
    assert fetching.fetch()
    assert fetching.file.read_bytes() == BODY
    assert server.seen[1].headers["range"] == "bytes=40000-"


def test_an_object_that_has_changed_is_fetched_anew(
    server: ScriptedServer, fetching: Fetching
) -> None:
    other = packed(100_000, seed=2)
    server.on("/o", cut(BODY, 40_000), stored(other, '"two"'))
    with pytest.raises(UnreachableError):
        fetching.fetch()
    fetching.fetch()
    assert fetching.file.read_bytes() == other
    assert fetching.etag.read_text() == '"two"'


@pytest.mark.parametrize("etag", [None, 'W/"weak"', "unquoted", ""])
def test_without_a_strong_etag_every_try_begins_anew(
    server: ScriptedServer, fetching: Fetching, etag: str | None
) -> None:
    server.on("/o", cut(BODY, 40_000, etag=etag), Answer(200, BODY))
    with pytest.raises(UnreachableError):
        fetching.fetch()
    fetching.fetch()
    assert "range" not in server.seen[1].headers
    assert fetching.file.read_bytes() == BODY


def test_an_etag_that_a_power_failure_has_emptied_is_none(
    server: ScriptedServer, fetching: Fetching
) -> None:
    server.on("/o", cut(BODY, 40_000), stored(BODY))
    with pytest.raises(UnreachableError):
        fetching.fetch()
    fetching.etag.write_text("")
    fetching.fetch()
    assert {"range", "if-range"}.isdisjoint(server.seen[1].headers)
    assert fetching.file.read_bytes() == BODY


def test_a_store_that_knows_no_ranges_is_listened_to_from_the_start(
    server: ScriptedServer, fetching: Fetching
) -> None:
    server.on("/o", cut(BODY, 40_000), Answer(200, BODY, {"ETag": '"one"'}))
    with pytest.raises(UnreachableError):
        fetching.fetch()
    fetching.fetch()
    assert fetching.file.read_bytes() == BODY


def part(content_range: str, body: bytes = BODY[40_000:], **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(206, body, {"Content-Range": content_range, **named})


LAST = len(BODY) - 1
ODD_PARTS = {
    "another start": part(f"bytes 39999-{LAST}/{len(BODY)}", BODY[39_999:]),
    "no range": Answer(206, BODY[40_000:]),
    "another unit": part(f"lines 40000-{LAST}/{len(BODY)}"),
    "garbage": part("bytes 40000"),
    "endless digits": part("bytes " + "4" * 5000 + "-5/6"),
    "another object": part(f"bytes 40000-{LAST}/{len(BODY)}", ETag='"two"'),
    "packed": part(f"bytes 40000-{LAST}/{len(BODY)}", Content_Encoding="gzip"),
}


@pytest.mark.parametrize("odd", ODD_PARTS)
def test_another_part_than_was_asked_for_is_not_appended(
    server: ScriptedServer, fetching: Fetching, odd: str
) -> None:
    server.on("/o", cut(BODY, 40_000), ODD_PARTS[odd], stored(BODY))
    with pytest.raises(UnreachableError):
        fetching.fetch()
    with pytest.raises(DamagedObjectError):
        fetching.fetch()
    assert fetching.fetch()
    assert fetching.file.read_bytes() == BODY


def test_a_part_of_unknown_whole_is_appended_and_told_to_be_unmeasured(
    server: ScriptedServer, fetching: Fetching
) -> None:
    server.on("/o", cut(BODY, 40_000), part(f"bytes 40000-{LAST}/*", ETag='"one"'))
    with pytest.raises(UnreachableError):
        fetching.fetch()
    assert not fetching.fetch()
    assert fetching.file.read_bytes() == BODY


def test_a_part_that_was_not_asked_for_is_taken_when_it_is_the_beginning(
    server: ScriptedServer, fetching: Fetching
) -> None:
    server.on("/o", part(f"bytes 0-{LAST}/{len(BODY)}", BODY))
    assert fetching.fetch()
    assert fetching.file.read_bytes() == BODY
    assert stat.S_IMODE(fetching.file.stat().st_mode) == 0o600


def test_a_part_that_ends_too_early_is_gone_on_with(
    server: ScriptedServer, fetching: Fetching
) -> None:
    short = part(f"bytes 0-999/{len(BODY)}", BODY[:1000], ETag='"one"')
    server.on("/o", short, stored(BODY))
    with pytest.raises(DamagedObjectError, match=f"1,000 of {len(BODY):,} bytes arrived"):
        fetching.fetch()
    fetching.etag.write_text('"one"')
    assert fetching.fetch()
    assert server.seen[1].headers["range"] == "bytes=1000-"
    assert fetching.file.read_bytes() == BODY


def test_a_part_that_is_longer_than_the_whole_is_thrown_away(
    server: ScriptedServer, fetching: Fetching
) -> None:
    server.on("/o", part("bytes 0-99/50", BODY[:100]))
    with pytest.raises(DamagedObjectError, match="100 of 50 bytes arrived"):
        fetching.fetch()
    assert not fetching.file.exists()


def test_what_is_here_already_is_not_fetched_again(
    server: ScriptedServer, fetching: Fetching
) -> None:
    """A stop while a part is checked leaves it whole under its unfinished name."""
    server.on("/o", stored(BODY), stored(BODY))
    fetching.fetch()
    assert fetching.fetch()
    assert fetching.file.read_bytes() == BODY
    assert server.seen[1].headers["range"] == f"bytes={len(BODY)}-"


@pytest.mark.parametrize("answered", ["bytes */7", "bytes */*", "", "bytes */" + "9" * 5000])
def test_a_store_with_fewer_bytes_than_have_arrived_makes_it_begin_anew(
    server: ScriptedServer, fetching: Fetching, answered: str
) -> None:
    refusal = Answer(416, b"<Error/>", {"Content-Range": answered})
    server.on("/o", cut(BODY, 40_000), refusal, stored(BODY))
    with pytest.raises(UnreachableError):
        fetching.fetch()
    with pytest.raises(DamagedObjectError, match="fewer bytes"):
        fetching.fetch()
    fetching.fetch()
    assert "range" not in server.seen[2].headers
    assert fetching.file.read_bytes() == BODY


@pytest.mark.parametrize("packing", ["gzip", "br", "deflate, gzip"])
def test_an_object_that_was_packed_on_its_way_is_not_taken(
    server: ScriptedServer, fetching: Fetching, packing: str
) -> None:
    server.on("/o", Answer(200, BODY, {"Content-Encoding": packing}))
    with pytest.raises(DamagedObjectError, match="packed"):
        fetching.fetch()
    assert not fetching.file.exists()


@pytest.mark.parametrize("length", ["", "1,2", "many", "9" * 5000])
def test_a_body_of_unknown_length_is_told_to_be_unmeasured(
    server: ScriptedServer, fetching: Fetching, length: str
) -> None:
    headers = {"Content-Length": length} if length and "," not in length else {}
    server.on("/o", Answer(200, BODY, headers, length=None))
    assert not fetching.fetch()
    assert fetching.file.read_bytes() == BODY


def chunked(*sizes: int, end: bytes = b"0\r\n\r\n") -> Answer:
    body, start = b"", 0
    for size in sizes:
        body += b"%x\r\n%b\r\n" % (size, BODY[start : start + size])
        start += size
    return Answer(200, body + end, {"Transfer-Encoding": "chunked", "ETag": '"one"'}, length=None)


def test_a_body_in_chunks_is_put_together(server: ScriptedServer, fetching: Fetching) -> None:
    server.on("/o", chunked(1, 50_000, len(BODY) - 50_001))
    fetching.fetch()
    assert fetching.file.read_bytes() == BODY


def test_chunks_without_an_end_are_noticed(server: ScriptedServer, fetching: Fetching) -> None:
    server.on("/o", chunked(40_000, end=b""), stored(BODY))
    with pytest.raises(UnreachableError):
        fetching.fetch()
    fetching.fetch()
    assert fetching.file.read_bytes() == BODY


REFUSALS: list[tuple[int, type[DapPipelineError], bool]] = [
    (400, LinkExpiredError, True),
    (401, LinkExpiredError, True),
    (403, LinkExpiredError, True),
    (404, NotFoundError, False),
    (410, NotFoundError, False),
    (408, ServerError, True),
    (429, ServerError, True),
    (500, ServerError, True),
    (503, ServerError, True),
    (405, DownloadError, False),
    (204, DownloadError, False),
    (304, DownloadError, False),
]


@pytest.mark.parametrize(("status", "kind", "retryable"), REFUSALS)
def test_a_refusal_of_the_store_has_its_class_and_its_body_is_not_told(
    server: ScriptedServer,
    fetching: Fetching,
    status: int,
    kind: type[DapPipelineError],
    retryable: bool,
) -> None:
    body = b"" if status in (204, 304) else f"<Error>{SIGNED}</Error>".encode()
    server.on("/o", Answer(status, body, {"Retry-After": "7"}, length=None if not body else -1))
    with pytest.raises(kind, match=f"answered {status} to the download") as caught:
        fetching.fetch()
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable
    assert "c0ffee" not in "".join(traceback.format_exception(caught.value))
    if isinstance(caught.value, ServerError):
        assert caught.value.retry_after == 7.0
    if isinstance(caught.value, NotFoundError):
        assert caught.value.kind == "object"
    assert not fetching.file.exists()


def test_what_has_arrived_survives_a_refusal(server: ScriptedServer, fetching: Fetching) -> None:
    server.on("/o", cut(BODY, 40_000), Answer(403, b"<Error/>"), stored(BODY))
    for kind in (UnreachableError, LinkExpiredError):
        with pytest.raises(kind):
            fetching.fetch()
    fetching.fetch()
    assert server.seen[2].headers["range"] == "bytes=40000-"
    assert fetching.file.read_bytes() == BODY


def test_an_answer_that_never_comes_is_unreachable(
    server: ScriptedServer, fetching: Fetching
) -> None:
    server.on("/o", LOST)
    with pytest.raises(UnreachableError) as caught:
        fetching.fetch()
    assert "c0ffee" not in "".join(traceback.format_exception(caught.value))
    assert not fetching.file.exists()


def test_a_fault_of_the_listener_is_not_taken_for_one_of_the_network(
    server: ScriptedServer, fetching: Fetching
) -> None:
    def listener(_: int) -> None:
        raise ValueError("a fault of ours")

    server.on("/o", stored(BODY))
    with pytest.raises(ValueError, match="a fault of ours"):
        transfer(fetching.http, fetching.url, fetching.file, on_bytes=listener, stop=Stop())


def test_discarding_forgets_file_and_etag_and_minds_no_absence(tmp_path: Path) -> None:
    file = tmp_path / "f"
    for _ in range(2):
        discard(file)
        assert list(tmp_path.iterdir()) == []
        file.write_bytes(b"x")
        (tmp_path / "f.etag").write_text("x")
