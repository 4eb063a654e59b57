"""Sends one request and gives its answer, whatever its status; the only place that opens sockets.

Redirects are not followed here: the API makes none, and a download follows its own with care.
Passwords of ``~/.netrc`` and cookies are never added, as they would go to the object store.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from dap_pipeline.errors import ConfigurationError, UnreachableError

CONNECT_SECONDS = 30.0
USER_AGENT = f"dap_pipeline/{version('dap-pipeline')}"


class _WithoutQueries(logging.Filter):
    """Cuts the queries off the addresses that urllib3 logs: those of links are their signatures."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, its addresses cut."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args
            )
        return True


for _name in ("connection", "connectionpool"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_WithoutQueries())


class BearerAuth(AuthBase):
    """Puts a token into the Authorization header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header to the request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class NoAuth(AuthBase):
    """Adds nothing, and keeps requests from looking for a password elsewhere."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Give the request back as it is."""
        return request


class _Sessions:
    """Sessions with kept-open connections, as many as are in use at the same time.

    Each has one connection: before another host is spoken to, the one to the first is closed.
    """

    def __init__(self) -> None:
        self._idle: deque[requests.Session] = deque()

    @contextlib.contextmanager
    def lent(self) -> Iterator[requests.Session]:
        """Lend a session while the block runs: the one that was used last, else a new one."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = _new_session()
        try:
            yield session
        finally:
            self._idle.append(session)


def _new_session() -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = USER_AGENT
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    return session


class Http:
    """Sessions to one service: for its API, and for its object store.

    Args:
        base_url: address that paths are appended to.
        idle_timeout: seconds without a byte after which an answer counts as stalled.
    """

    def __init__(self, base_url: str, *, idle_timeout: float) -> None:
        if not _is_address(base_url):
            # Not repeated: what stands in the wrong setting may be the secret.
            raise ConfigurationError(
                "DAP_API_URL is not an address",
                advice="It must begin with https:// (or http://) and name a host.",
            )
        self.base_url = base_url.rstrip("/")
        self._timeout = (min(CONNECT_SECONDS, idle_timeout), idle_timeout)
        self._api = _Sessions()
        self._store = _Sessions()
        self.answered = False
        """Whether the API has answered at all, with whatever status."""

    def send(
        self,
        method: str,
        path: str,
        *,
        auth: AuthBase,
        json: object = None,
        form: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request to the API and read its whole answer.

        Raises:
            UnreachableError: no whole answer arrived.
        """
        url = self.base_url + path
        with self._api.lent() as session:
            response = self._request(session, method, url, auth=auth, json=json, data=form)
        self.answered = True
        return response

    @contextlib.contextmanager
    def opened(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Ask the object store for a body that can be read while the block runs.

        Raises:
            UnreachableError: no answer began.
        """
        with (
            self._store.lent() as session,
            contextlib.closing(
                self._request(session, "GET", url, auth=NoAuth(), headers=headers, stream=True)
            ) as response,
        ):
            yield response

    def _request(
        self, session: requests.Session, method: str, url: str, **arguments: object
    ) -> requests.Response:
        try:
            return session.request(
                method,
                url,
                timeout=self._timeout,
                allow_redirects=False,
                **arguments,  # type: ignore[arg-type]  # passed on as given above
            )
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            # The library lets some of its own errors' causes through: a Location that cannot be
            # split, a missing certificate bundle. Their texts may hold a signed link: name only
            # host and kind.
            raise UnreachableError(f"{host_of(url)} did not answer ({_reason(error)})") from None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def host_of(url: str) -> str:
    """Give host and port of an address, without the password that may stand before them."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _reason(error: BaseException) -> str:
    """Name the innermost cause by its class, in words that hold no address."""
    cause: BaseException = error
    seen = 0
    while seen < 10 and (inner := _inner(cause)) is not None:
        cause, seen = inner, seen + 1
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(cause).__name__


def _inner(error: BaseException) -> BaseException | None:
    if (reason := getattr(error, "reason", None)) and isinstance(reason, BaseException):
        return reason
    return next((a for a in error.args if isinstance(a, BaseException)), error.__cause__)
