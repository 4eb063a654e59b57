from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from dap_pipeline.dap.http import Http
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.transfer import transfer
from dap_pipeline.errors import (
    DownloadError,
    InsecureRedirectError,
    UnreachableError,
)

from .fetching import BODY, Fetching
from .scripted import Answer, ScriptedServer, cut, stored


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["/elsewhere?sig=2", "{url}/elsewhere?sig=2", "elsewhere?sig=2"])
def test_a_redirect_is_followed_with_the_same_headers_and_no_credentials(
    server: ScriptedServer, fetching: Fetching, status: int, target: str
) -> None:
    to = target.format(url=server.url)
    server.on("/o", cut(BODY, 40_000), Answer(status, b"moved", {"Location": to}))
    server.on("/elsewhere", stored(BODY))
    with pytest.raises(UnreachableError):
        fetching.fetch()
    fetching.fetch()
    assert fetching.file.read_bytes() == BODY
    (seen,) = server.at("/elsewhere")
    assert seen.query == "sig=2"
    assert seen.headers["range"] == "bytes=40000-"
    for secret in ("authorization", "cookie", "referer"):
        assert secret not in seen.headers


def test_redirects_in_a_circle_end(server: ScriptedServer, fetching: Fetching) -> None:
    server.always("/o", Answer(302, headers={"Location": fetching.url}))
    with pytest.raises(DownloadError, match="again and again") as caught:
        fetching.fetch()
    assert not caught.value.retryable
    assert "c0ffee" not in str(caught.value)
    assert len(server.seen) == 5


class Redirecting(Http):
    """Stands for a store with a certificate, which a test has not: says where it redirects to."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        super().__init__("https://dap.example", idle_timeout=1.0)
        self.targets = targets
        self.asked: list[str] = []

    @contextlib.contextmanager
    def opened(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        self.asked.append(url)
        response = requests.Response()
        response.url = url
        response.status_code = 302 if url in self.targets else 404
        response.raw = io.BytesIO()
        if url in self.targets:
            response.headers["Location"] = self.targets[url]
        yield response


@pytest.mark.parametrize(
    "target", ["http://store.example/o?sig=c0ffee", "HTTP://127.0.0.1/o?sig=c0ffee", "ftp://a/b"]
)
def test_a_redirect_from_https_to_an_open_address_is_refused(tmp_path: Path, target: str) -> None:
    start = "https://user:word@store.example/o?sig=c0ffee"
    http = Redirecting({start: target})
    with pytest.raises(InsecureRedirectError, match=r"^store\.example redirects") as caught:
        transfer(http, start, tmp_path / "f", on_bytes=print, stop=Stop())
    assert http.asked == [start]
    assert "c0ffee" not in str(caught.value)
    assert not caught.value.retryable


def test_a_redirect_within_https_is_followed_until_it_leads_into_the_open(tmp_path: Path) -> None:
    first, second = "https://store.example/a", "https://other.example/b"
    http = Redirecting({first: second, second: "http://other.example/c"})
    with pytest.raises(InsecureRedirectError, match=r"^other\.example redirects"):
        transfer(http, first, tmp_path / "f", on_bytes=print, stop=Stop())
    assert http.asked == [first, second]
