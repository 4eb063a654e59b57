"""Sends one request and gives its answer, whatever its status; the only place that opens sockets.

Redirects are not followed here: the API makes none, and a download follows its own with care.
Passwords of ``~/.netrc`` are never added, as they would go to the object store.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib.metadata import version
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from dap_pipeline.errors import ConfigurationError, UnreachableError

CONNECT_SECONDS = 30.0
USER_AGENT = f"dap_pipeline/{version('dap-pipeline')}"


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


class Http:
    """Sessions to one service, one a thread.

    Args:
        base_url: address that paths are appended to.
        idle_timeout: seconds without a byte after which an answer counts as stalled.
    """

    def __init__(self, base_url: str, *, idle_timeout: float) -> None:
        if not base_url.lower().startswith(("https://", "http://")):
            raise ConfigurationError(
                f"DAP_API_URL is {base_url!r}", advice="It must begin with https:// (or http://)."
            )
        self.base_url = base_url.rstrip("/")
        self._timeout = (min(CONNECT_SECONDS, idle_timeout), idle_timeout)
        self._local = threading.local()

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
        return self._request(method, self.base_url + path, auth=auth, json=json, data=form)

    def open(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        """Ask the object store for a body that the caller reads and closes.

        Raises:
            UnreachableError: no answer began.
        """
        return self._request("GET", url, auth=NoAuth(), headers=headers, stream=True)

    def _request(self, method: str, url: str, **arguments: object) -> requests.Response:
        try:
            return self._session().request(
                method,
                url,
                timeout=self._timeout,
                allow_redirects=False,
                **arguments,  # type: ignore[arg-type]  # passed on as given above
            )
        except requests.RequestException as error:
            # The text of the library's error may hold a signed link: name only host and kind.
            host = urlsplit(url).netloc.rpartition("@")[2]
            raise UnreachableError(f"{host} did not answer ({_reason(error)})") from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.headers["User-Agent"] = USER_AGENT
            for scheme in ("https://", "http://"):
                session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=4))
            self._local.session = session
        return session


def _reason(error: requests.RequestException) -> str:
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
