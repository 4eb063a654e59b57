"""The Query API: one method for each of its calls.

Every call waits for its place under the rate limit, logs in when it must, and is tried again with
growing, jittered waits when trying again can help. A repeated POST is safe: DAP answers an
identical query with the job that exists already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote, urlsplit

from dap_pipeline.dap.answers import read_json, server_time
from dap_pipeline.dap.http import BearerAuth, Http
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
from dap_pipeline.dap.patience import Patience
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
        host = urlsplit(settings.api_url).netloc
        limiter = Limiter(
            settings.data_dir.absolute() / "limits.sqlite",
            limits_of(settings),
            scope=f"{credentials.client_id}@{host}",
        )
        http = Http(settings.api_url, idle_timeout=settings.idle_timeout)
        return cls(http, credentials, limiter, patience=Patience(total=settings.retry_seconds))

    def list_tables(self, namespace: str, stop: Stop) -> tuple[str, ...]:
        """Give the names of the namespace's tables, sorted.

        Raises:
            UnknownTableError: DAP does not know the namespace.
        """
        payload, _ = self._get(Endpoint.LIST, f"/dap/query/{_part(namespace)}/table", stop)
        return tuple(sorted(parse_answer(TableList, payload).tables))

    def schema(self, name: TableName, stop: Stop) -> VersionedSchema:
        """Give the table's current schema.

        Raises:
            UnknownTableError: DAP does not know the namespace or the table.
        """
        payload, _ = self._get(Endpoint.SCHEMA, f"{_table_path(name)}/schema", stop)
        return parse_answer(VersionedSchema, payload)

    def start(self, name: TableName, query: Query, stop: Stop) -> Answered:
        """Start a job, or get the one that the identical query has already.

        Raises:
            UnknownTableError: DAP does not know the namespace or the table.
        """
        path = f"{_table_path(name)}/data"
        try:
            return self._job_call(Endpoint.CREATE, "POST", path, stop, query.body())
        except NotFoundError as error:
            raise UnknownTableError(error.what, place=error.place) from None

    def job(self, job_id: str, stop: Stop) -> Answered:
        """Ask how a job stands."""
        return self._job_call(Endpoint.POLL, "GET", f"/dap/job/{_part(job_id)}", stop)

    def links(self, object_ids: Sequence[str], stop: Stop) -> dict[str, Link]:
        """Trade object ids for links, all in one call; each is good for about 15 minutes."""
        body = [{"id": object_id} for object_id in object_ids]
        payload, _ = self._call(Endpoint.LINKS, "POST", "/dap/object/url", stop, body)
        return parse_answer(LinkList, payload).urls

    def _get(self, endpoint: Endpoint, path: str, stop: Stop) -> tuple[object, datetime]:
        try:
            return self._call(endpoint, "GET", path, stop)
        except NotFoundError as error:
            raise UnknownTableError(error.what, place=error.place) from None

    def _job_call(
        self, endpoint: Endpoint, method: str, path: str, stop: Stop, body: object = None
    ) -> Answered:
        payload, clock = self._call(endpoint, method, path, stop, body)
        return Answered(parse_job(payload), clock)

    def _call(
        self, endpoint: Endpoint, method: str, path: str, stop: Stop, body: object = None
    ) -> tuple[object, datetime]:
        return self._retrying(lambda: self._attempt(endpoint, method, path, stop, body), stop)

    def _attempt(
        self, endpoint: Endpoint, method: str, path: str, stop: Stop, body: object
    ) -> tuple[object, datetime]:
        """Make one call; a token that was refused is renewed once, without counting as a try."""
        for last in (False, True):
            # Before the slot is taken, so that a slow login does not shift the call in time.
            token = self._login.token()
            self._limiter.acquire(endpoint, stop)
            response = self.http.send(method, path, auth=BearerAuth(token), json=body)
            try:
                return read_json(response), server_time(response)
            except TokenRefusedError:
                self._login.forget(token)
                if last:
                    raise
            except RateLimitedError as error:
                self._limiter.pause(endpoint, self.patience.wait_after(error, failures=1))
                raise
        raise AssertionError("the loop above returns or raises")

    def _retrying(self, attempt: Callable[[], T], stop: Stop) -> T:
        tries = self.patience.tries()
        while True:
            try:
                return attempt()
            except DapPipelineError as error:
                tries.failed(error)
            stop.wait(tries.wait())


def _table_path(name: TableName) -> str:
    return f"/dap/query/{_part(name.namespace)}/table/{_part(name.table)}"


def _part(name: str) -> str:
    """Quote a name for use as one part of a path."""
    return quote(name, safe="")
