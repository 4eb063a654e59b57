"""Fetches one object into one file: follows redirects, resumes, and counts every byte.

The object store takes the signature in the link as the only credential: nothing else is sent.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from dap_pipeline.dap.answers import retry_after
from dap_pipeline.dap.http import Http, host_of
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    CancelledError,
    DamagedObjectError,
    DapPipelineError,
    DownloadError,
    InsecureRedirectError,
    LinkExpiredError,
    NotFoundError,
    ServerError,
    UnreachableError,
)

_CHUNK = 1 << 20
_REDIRECTS = 5
_LENGTH = re.compile(r"[0-9]{1,15}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15}|\*)$")
_WHOLE = re.compile(r"bytes \*/([0-9]{1,15})$")

OnBytes = Callable[[int], None]


def transfer(http: Http, url: str, file: Path, *, on_bytes: OnBytes, stop: Stop) -> bool:
    """Fetch the object's bytes into ``file``, going on where an earlier try has stopped.

    Args:
        http: opens the connections.
        url: the signed link.
        file: what has arrived so far; beside it ``file`` + ``.etag`` says of which object.
        on_bytes: told of each piece that arrives.
        stop: ends the transfer; what has arrived stays.

    Returns:
        Whether the store told the length, so that a body cut short has been noticed.

    Raises:
        LinkExpiredError: the store refuses the link.
        UnreachableError: the connection broke or stalled.
        DamagedObjectError: fewer or more bytes arrived than were announced.
        NotFoundError: the object is gone.
    """
    etag_file = file.with_name(file.name + ".etag")
    with _opened(http, url, _resume_headers(file, etag_file)) as response:
        # Whoever was stopped while the answer was on its way must not write any more.
        stop.check()
        if _is_all_here(response, file):
            return True
        offset, total = _begin(response, file, etag_file)
        with stop.waking(response.raw.shutdown):
            _copy(response, file, offset, on_bytes, stop)
    size = file.stat().st_size
    if total is not None and size != total:
        if size > total:
            discard(file)
        raise DamagedObjectError(f"{size:,} of {total:,} bytes arrived")
    return total is not None


def discard(file: Path) -> None:
    """Remove what has arrived, so that the next try starts anew."""
    file.unlink(missing_ok=True)
    file.with_name(file.name + ".etag").unlink(missing_ok=True)


def _resume_headers(file: Path, etag_file: Path) -> dict[str, str]:
    # As they are in the store: a proxy that packs them once more would change their length.
    headers = {"Accept-Encoding": "identity"}
    if (size := _size(file)) and (etag := _known_etag(etag_file)):
        headers |= {"Range": f"bytes={size}-", "If-Range": etag}
    return headers


def _known_etag(etag_file: Path) -> str | None:
    """Say which object has begun to arrive; a power failure may have left the file empty."""
    return (etag_file.read_text() or None) if etag_file.exists() else None


@contextlib.contextmanager
def _opened(http: Http, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    for _ in range(_REDIRECTS):
        with http.opened(url, headers) as response:
            if not response.is_redirect:
                yield response
                return
            target = urljoin(url, response.headers["Location"])
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise InsecureRedirectError(f"{host_of(url)} redirects the download to an open address")
        url = target
    raise DownloadError(f"{host_of(url)} redirects the download again and again")


def _is_all_here(response: requests.Response, file: Path) -> bool:
    """Tell whether an earlier try has fetched everything, and was ended while it was checked."""
    total = _WHOLE.match(response.headers.get("Content-Range", ""))
    return response.status_code == 416 and total is not None and int(total[1]) == _size(file)


def _begin(response: requests.Response, file: Path, etag_file: Path) -> tuple[int, int | None]:
    """Say where the body belongs in the file, and how long the whole object is."""
    status = response.status_code
    if status == 416:
        discard(file)
        raise DamagedObjectError("the store has fewer bytes than have arrived")
    if status not in (200, 206):
        raise _refusal(response)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DamagedObjectError("a proxy has packed the object on its way")
    if status == 206:
        return _continued(response, file, etag_file)
    discard(file)
    if (etag := response.headers.get("ETag", "")).startswith('"'):
        etag_file.write_text(etag)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if _LENGTH.fullmatch(length) else None


def _continued(response: requests.Response, file: Path, etag_file: Path) -> tuple[int, int | None]:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    size = _size(file)
    if match is None or int(match[1]) != size:
        discard(file)
        raise DamagedObjectError("the store answered another range than was asked for")
    etag = response.headers.get("ETag")
    if size and etag is not None and etag != _known_etag(etag_file):
        # A store that knows ranges but not If-Range.
        discard(file)
        raise DamagedObjectError("the object has changed while it was fetched")
    return size, None if match[2] == "*" else int(match[2])


def _refusal(response: requests.Response) -> DapPipelineError:
    """Name the refusal without its body, which may repeat the link."""
    status = response.status_code
    what = f"{host_of(response.url)} answered {status} to the download"
    if status in (400, 401, 403):
        # 403 for the link's own end, 400 when the store's credential that signed it has ended.
        return LinkExpiredError(what)
    if status in (404, 410):
        return NotFoundError(what, kind="object")
    if status >= 500 or status in (408, 429):
        return ServerError(what, retry_after=retry_after(response))
    return DownloadError(what)


def _copy(
    response: requests.Response, file: Path, offset: int, on_bytes: OnBytes, stop: Stop
) -> None:
    file.touch(mode=0o600)
    with file.open("ab") as target:
        target.truncate(offset)
        for chunk in _chunks(response, stop):
            target.write(chunk)
            on_bytes(len(chunk))


def _chunks(response: requests.Response, stop: Stop) -> Iterator[bytes]:
    """Yield the body; what is read after a stop is not the body any more.

    Waking a reader shuts its socket down: a TLS connection then gives out raw bytes, and a body of
    unknown length seems to have ended.
    """
    try:
        # What one read of the socket gives: a full chunk would be lost with its beginning when
        # the connection stalls.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            stop.check()
            yield chunk
        stop.check()
    except CancelledError:
        raise
    except Exception as error:
        stop.check()
        if not isinstance(error, urllib3.exceptions.HTTPError):
            raise
        raise UnreachableError(
            f"the download from {host_of(response.url)} broke ({type(error).__name__})"
        ) from None


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
