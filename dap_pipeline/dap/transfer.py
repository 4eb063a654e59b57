"""Fetches one object into one file: follows redirects, resumes, and counts every byte.

The object store takes the signature in the link as the only credential: nothing else is sent.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from dap_pipeline.dap.answers import retry_after
from dap_pipeline.dap.http import Http
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    DamagedObjectError,
    DownloadError,
    InsecureRedirectError,
    LinkExpiredError,
    NotFoundError,
    ServerError,
    UnreachableError,
)

_CHUNK = 1 << 20
_REDIRECTS = 5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)$")

OnBytes = Callable[[int], None]


def transfer(http: Http, url: str, file: Path, *, on_bytes: OnBytes, stop: Stop) -> None:
    """Fetch the object's bytes into ``file``, going on where an earlier try has stopped.

    Args:
        http: opens the connections.
        url: the signed link.
        file: what has arrived so far; beside it ``file`` + ``.etag`` says of which object.
        on_bytes: told of each piece that arrives.
        stop: ends the transfer; what has arrived stays.

    Raises:
        LinkExpiredError: the store refuses the link.
        UnreachableError: the connection broke or stalled.
        DamagedObjectError: fewer or more bytes arrived than were announced.
        NotFoundError: the object is gone.
    """
    etag_file = file.with_name(file.name + ".etag")
    with contextlib.closing(_open(http, url, _resume_headers(file, etag_file))) as response:
        offset, total = _begin(response, file, etag_file)
        with stop.waking(response.raw.shutdown):
            _copy(response, file, offset, on_bytes, stop)
    size = file.stat().st_size
    if total is not None and size != total:
        if size > total:
            discard(file)
        raise DamagedObjectError(f"{size:,} of {total:,} bytes arrived")


def discard(file: Path) -> None:
    """Remove what has arrived, so that the next try starts anew."""
    file.unlink(missing_ok=True)
    file.with_name(file.name + ".etag").unlink(missing_ok=True)


def _resume_headers(file: Path, etag_file: Path) -> dict[str, str]:
    # As they are in the store: a proxy that packs them once more would change their length.
    headers = {"Accept-Encoding": "identity"}
    if file.exists() and etag_file.exists() and (size := file.stat().st_size):
        headers |= {"Range": f"bytes={size}-", "If-Range": etag_file.read_text()}
    return headers


def _open(http: Http, url: str, headers: dict[str, str]) -> requests.Response:
    for _ in range(_REDIRECTS):
        response = http.open(url, headers)
        if not response.is_redirect:
            return response
        target = urljoin(url, response.headers["Location"])
        response.close()
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise InsecureRedirectError(f"{_host(url)} redirects the download to an open address")
        url = target
    raise DownloadError(f"{_host(url)} redirects the download again and again")


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _begin(response: requests.Response, file: Path, etag_file: Path) -> tuple[int, int | None]:
    """Say where the body belongs in the file, and how long the whole object is."""
    status = response.status_code
    if status == 206:
        return _continued(response, file)
    if status == 416:
        discard(file)
        raise DamagedObjectError("the store has fewer bytes than have arrived")
    if status != 200:
        raise _refusal(response)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DamagedObjectError("a proxy has packed the object on its way")
    discard(file)
    if (etag := response.headers.get("ETag", "")).startswith('"'):
        etag_file.write_text(etag)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _continued(response: requests.Response, file: Path) -> tuple[int, int | None]:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    size = file.stat().st_size if file.exists() else 0
    if match is None or int(match[1]) != size:
        discard(file)
        raise DamagedObjectError("the store answered another range than was asked for")
    return size, None if match[2] == "*" else int(match[2])


def _refusal(response: requests.Response) -> Exception:
    """Name the refusal without its body, which may repeat the link."""
    status, host = response.status_code, _host(response.url)
    what = f"{host} answered {status} to the download"
    if status == 403:
        return LinkExpiredError(what)
    if status in (404, 410):
        return NotFoundError(what, kind="object")
    if status >= 500 or status in (408, 429):
        return ServerError(what, retry_after=retry_after(response))
    return DownloadError(what)


def _copy(
    response: requests.Response, file: Path, offset: int, on_bytes: OnBytes, stop: Stop
) -> None:
    try:
        with file.open("ab") as target:
            target.truncate(offset)
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                target.write(chunk)
                on_bytes(len(chunk))
                stop.check()
    except urllib3.exceptions.HTTPError as error:
        stop.check()
        raise UnreachableError(
            f"the download from {_host(response.url)} broke ({type(error).__name__})"
        ) from None
