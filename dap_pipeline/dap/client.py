"""The Query API: one method for each of its calls.

Every call waits for its place under the rate limit, logs in when it must, and is tried again with
growing, jittered waits when trying again can help. A repeated POST is safe: DAP answers an
identical query with the job that exists already.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar
from urllib.parse import quote

import requests

from dap_pipeline.dap.answers import read_json, server_time
from dap_pipeline.dap.http import BearerAuth, Http, host_of
from dap_pipeline.dap.limits import Endpoint, Limiter, limits_of
from dap_pipeline.dap.login import Credentials, Login
from dap_pipeline.dap.models import (
    Job,
    Link,
    LinkList,
    Query,
    TableList,
    TableName,
    VersionedSchema,
    parse_answer,
    parse_job,
)
from dap_pipeline.dap.patience import Patience, Tries
from dap_pipeline.dap.shared import shared_folder
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    DapPipelineError,
    NotFoundError,
    RateLimitedError,
    TokenRefusedError,
    UnknownTableError,
)
from dap_pipeline.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Answered:
    """A job together with the service's clock when it answered."""

    job: Job
    server_time: datetime


@dataclass(frozen=True)
class _Call(Generic[T]):
    """A call of the API and the way in which its answer is read."""

    endpoint: Endpoint
    method: str
    path: str
    read: Callable[[object], T]
    body: object = None
    table: str = ""


class DapClient:
    """Speaks to one DAP service with one pair of credentials; safe to share between threads."""

    def __init__(
        self,
        http: Http,
        credentials: Credentials,
        limiter: Limiter,
        *,
        patience: Patience | None = None,
    ) -> None:
        self.http = http
        self.patience = patience or Patience()
        self._login = Login(http, credentials)
        self._limiter = limiter

    @classmethod
    def from_settings(cls, settings: Settings) -> DapClient:
        """Make the client that the settings describe; no call is made yet.

        Raises:
            MissingCredentialsError: the credentials are not set.
            ConfigurationError: the address cannot be used.
        """
        credentials = Credentials.from_settings(settings)
        http = Http(settings.api_url, idle_timeout=settings.idle_timeout)
        limiter = Limiter(
            shared_folder(settings) / "limits.sqlite",
            limits_of(settings),
            scope=f"{credentials.client_id}@{host_of(http.base_url)}",
            count=settings.limits_count,
        )
        return cls(http, credentials, limiter, patience=Patience.from_settings(settings))

    def list_tables(self, namespace: str, stop: Stop) -> tuple[str, ...]:
        """Give the names of the namespace's tables, sorted.

        Raises:
            UnknownTableError: DAP does not know the namespace.
        """
        path = f"/dap/query/{_part(namespace)}/table"
        call = _Call(Endpoint.LIST, "GET", path, partial(parse_answer, TableList))
        with _unknown_when_not_found(namespace):
            return tuple(sorted(self._call(call, stop)[0].tables))

    def schema(self, name: TableName, stop: Stop) -> VersionedSchema:
        """Give the table's current schema.

        Raises:
            UnknownTableError: DAP does not know the namespace or the table.
        """
        path = f"{_table_path(name)}/schema"
        read = partial(parse_answer, VersionedSchema)
        call = _Call(Endpoint.SCHEMA, "GET", path, read, table=str(name))
        with _unknown_when_not_found(name.namespace, name.table):
            return self._call(call, stop)[0]

    def start(self, name: TableName, query: Query, stop: Stop) -> Answered:
        """Start a job, or get the one that the identical query has already.

        Raises:
            UnknownTableError: DAP does not know the namespace or the table.
        """
        path = f"{_table_path(name)}/data"
        call = _Call(Endpoint.CREATE, "POST", path, parse_job, query.body(), str(name))
        with _unknown_when_not_found(name.namespace, name.table):
            return Answered(*self._call(call, stop))

    def job(self, job_id: str, stop: Stop) -> Answered:
        """Ask how a job stands."""
        call = _Call(Endpoint.POLL, "GET", f"/dap/job/{_part(job_id)}", parse_job)
        return Answered(*self._call(call, stop))

    def links(self, object_ids: Sequence[str], stop: Stop) -> dict[str, Link]:
        """Trade object ids for links, all in one call; each is good for about 15 minutes."""
        body = [{"id": object_id} for object_id in object_ids]
        read = partial(parse_answer, LinkList)
        return self._call(_Call(Endpoint.LINKS, "POST", "/dap/object/url", read, body), stop)[
            0
        ].urls

    def _call(self, call: _Call[T], stop: Stop) -> tuple[T, datetime]:
        """Make the call until its answer can be read, as long as trying again can help."""
        tries = self.patience.tries()
        while True:
            try:
                return self._attempt(call, tries, stop)
            except DapPipelineError as error:
                # Asked only now: the first answer of all may have come within this very call.
                met = self.http.answered
                tries.patience = self.patience if met else self.patience.before_contact()
                tries.failed(error)
            stop.wait(tries.wait())

    def _attempt(self, call: _Call[T], tries: Tries, stop: Stop) -> tuple[T, datetime]:
        """Make the call once; a token that was refused is renewed without counting as a try."""
        for last in (False, True):
            response, token = self._send(call, tries, stop)
            try:
                return call.read(read_json(response)), server_time(response)
            except TokenRefusedError:
                self._login.forget(token)
                if last:
                    raise
            except RateLimitedError as error:
                rest = self.patience.wait_after(error, failures=1)
                self._limiter.pause(call.endpoint, rest, table=call.table)
                raise
        raise AssertionError("the loop above returns or raises")

    def _send(self, call: _Call[T], tries: Tries, stop: Stop) -> tuple[requests.Response, str]:
        # Before the slot is taken, so that a slow login does not shift the call in time; and read
        # once more behind the queue, where the first token may have grown old.
        self._login.token()
        queued = time.monotonic()
        self._limiter.acquire(
            call.endpoint, stop, table=call.table, longest_rest=self.patience.total
        )
        tries.excuse(time.monotonic() - queued)
        token = self._login.token()
        return self.http.send(call.method, call.path, auth=BearerAuth(token), json=call.body), token


@contextlib.contextmanager
def _unknown_when_not_found(namespace: str, table: str | None = None) -> Iterator[None]:
    try:
        yield
    except NotFoundError as error:
        raise UnknownTableError(error.what, place=error.place).at(namespace, table) from None


def _table_path(name: TableName) -> str:
    return f"/dap/query/{_part(name.namespace)}/table/{_part(name.table)}"


def _part(name: str) -> str:
    """Quote a name for use as one part of a path."""
    return quote(name, safe="")
