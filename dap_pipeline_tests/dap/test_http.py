from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dap_pipeline.dap.http import USER_AGENT, BearerAuth, NoAuth, host_of
from dap_pipeline.errors import ConfigurationError, UnreachableError

from .parts import http_to
from .scripted import LOST, Answer, ScriptedServer, Seen, Then, cut

TOKEN = "eyJ.a-token.of-today"
SIGNATURE = "X-Amz-Signature=c0ffee"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "dap.example",
        "ftp://dap.example",
        "https://",
        "https://[::1",
        "http://a:99999",
        "s3cret",
    ],
)
def test_an_address_that_cannot_be_used_is_a_wrong_setting_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigurationError, match="DAP_API_URL is not an address") as caught:
        http_to(address)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["HTTPS://dap.example", "http://[::1]:80/", "http://a/b//"])
def test_an_address_may_have_a_port_a_path_and_a_slash_at_its_end(address: str) -> None:
    assert not http_to(address).base_url.endswith("/")


def test_a_request_says_who_asks_and_carries_what_it_is_given(server: ScriptedServer) -> None:
    server.on("/dap/x", Answer(201, b"made"))
    http = http_to(server.url + "/")
    answer = http.send("POST", "/dap/x", auth=BearerAuth("t1"), json=[{"id": "a"}])
    assert (answer.status_code, answer.content) == (201, b"made")
    (seen,) = server.seen
    assert seen.headers["authorization"] == "Bearer t1"
    assert seen.headers["user-agent"] == USER_AGENT
    assert seen.json == [{"id": "a"}]
    assert seen.headers["content-type"] == "application/json"


def test_redirects_of_the_api_are_not_followed(server: ScriptedServer) -> None:
    server.on("/a", Answer(302, headers={"Location": "/b"}))
    assert http_to(server.url).send("GET", "/a", auth=NoAuth()).status_code == 302


@pytest.mark.parametrize("target", ["http://[::1", "https://\xff/", "//", "http://a:bcd/"])
def test_a_redirect_to_nowhere_is_no_answer_or_a_plain_one(
    server: ScriptedServer, target: str
) -> None:
    server.on("/a", Answer(302, headers={"Location": target}))
    with contextlib.suppress(UnreachableError):
        assert http_to(server.url).send("GET", "/a", auth=NoAuth()).status_code == 302


def test_cookies_are_not_kept(server: ScriptedServer) -> None:
    server.on("/a", Answer(headers={"Set-Cookie": "token=t1; Path=/"}), Answer())
    http = http_to(server.url)
    for _ in range(2):
        http.send("GET", "/a", auth=NoAuth())
    assert "cookie" not in server.seen[1].headers


def test_connections_are_used_again(server: ScriptedServer) -> None:
    server.on("/a", *[Answer()] * 3)
    http = http_to(server.url)
    for _ in range(3):
        http.send("GET", "/a", auth=NoAuth())
    assert len(server.connections_made) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        LOST,
        cut(b"x" * 1000, 10),
        Answer(200, b"\x1f", {"Content-Encoding": "gzip"}, length=5, then=Then.CLOSE),
        Answer(200, b"no gzip", {"Content-Encoding": "gzip"}),
        Answer(200, b"zz\r\n", {"Transfer-Encoding": "chunked"}, length=None),
    ],
    ids=["lost", "cut", "cut gzip", "no gzip", "bad chunk"],
)
def test_an_answer_that_does_not_arrive_whole_is_none(
    server: ScriptedServer, trouble: Answer
) -> None:
    server.on("/a", trouble)
    with pytest.raises(UnreachableError, match="did not answer") as caught:
        http_to(server.url, idle_timeout=5.0).send("GET", "/a", auth=BearerAuth(TOKEN))
    assert caught.value.retryable
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("trouble", [Answer(mute=True, then=Then.STALL), cut(b"xx", 1, Then.STALL)])
def test_an_answer_that_stalls_is_given_up(server: ScriptedServer, trouble: Answer) -> None:
    server.on("/a", trouble)
    with pytest.raises(UnreachableError, match=host_of(server.url)):
        http_to(server.url, idle_timeout=0.2).send("GET", "/a", auth=NoAuth())


def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{port}/o?" + SIGNATURE, "Connection refused"),
        ("http://name.invalid/o?" + SIGNATURE, "did not answer"),
        ("http://127.0.0.1:{port}\x00/o?" + SIGNATURE, "did not answer"),
        ("http://[::1/o?" + SIGNATURE, "did not answer"),
        ("ftp://a/o?" + SIGNATURE, "InvalidSchema"),
        ("http://" + "a" * 70 + ".b/o?" + SIGNATURE, "did not answer"),
    ],
)
def test_a_link_that_cannot_be_reached_is_not_told(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with (
        pytest.raises(UnreachableError, match=reason) as caught,
        http_to("http://dap.example").opened(url.format(port=closed_port()), {}),
    ):
        pytest.fail("there was an answer")
    assert "c0ffee" not in "".join(traceback.format_exception(caught.value))
    assert "c0ffee" not in repr(vars(caught.value))


def test_a_bundle_of_certificates_that_is_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "no-such-file"))
    with pytest.raises(UnreachableError):
        http_to("https://127.0.0.1:1").send("GET", "/a", auth=NoAuth())


def test_a_token_that_no_header_can_hold_is_not_told(server: ScriptedServer) -> None:
    for token in (f"{TOKEN}\r\nX-Evil: 1", f"{TOKEN}\u20ac"):
        with pytest.raises(UnreachableError) as caught:
            http_to(server.url).send("GET", "/a", auth=BearerAuth(token))
        assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_not_even_a_chatty_log_tells_a_signature(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("/o", Answer(body=b"x", headers={"X-Odd": "a\r\nno header at all"}))
    with (
        caplog.at_level(logging.DEBUG),
        http_to(server.url).opened(f"{server.url}/o?{SIGNATURE}", {}),
    ):
        pass
    assert "GET /o" in caplog.text
    assert "Failed to parse headers" in caplog.text
    assert "c0ffee" not in caplog.text


def test_there_are_as_many_connections_as_calls_at_the_same_time(server: ScriptedServer) -> None:
    together = threading.Barrier(3)

    def answer(_: Seen) -> Answer:
        together.wait(60)
        return Answer()

    server.always("/a", answer)
    http = http_to(server.url)
    for _ in range(2):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: http.send("GET", "/a", auth=NoAuth()), range(3)))
    assert len(server.connections_made) == 3


def test_a_connection_to_one_store_is_closed_before_another_is_spoken_to(
    server: ScriptedServer,
) -> None:
    server.always("/o", Answer(body=b"x"))
    http = http_to(server.url)
    with ScriptedServer() as other:
        other.always("/o", Answer(body=b"x"))
        for url in (server.url, other.url):
            with http.opened(f"{url}/o", {}) as response:
                assert response.content == b"x"
        deadline = time.monotonic() + 60.0
        while server.is_connected():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert other.is_connected()


def test_a_service_has_answered_when_any_answer_came(server: ScriptedServer) -> None:
    server.on("/a", LOST, Answer(500))
    http = http_to(server.url)
    with pytest.raises(UnreachableError):
        http.send("GET", "/a", auth=NoAuth())
    assert not http.answered
    http.send("GET", "/a", auth=NoAuth())
    assert http.answered


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://user:pass@dap.example:8443/x", "dap.example:8443"),
        ("https://dap.example", "dap.example"),
        ("https://[::1", ""),
        ("nothing", ""),
    ],
)
def test_a_host_is_told_without_the_password_before_it(url: str, host: str) -> None:
    assert host_of(url) == host
