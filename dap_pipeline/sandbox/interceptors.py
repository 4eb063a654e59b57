"""The seam for faults: an interceptor may replace, delay or change any answer, or fail a job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.responses import Response

from .job_book import Job
from .limits import Endpoint

Proceed = Callable[[], Awaitable[Response]]


@dataclass(frozen=True)
class Call:
    """A request on its way to an endpoint; what its path does not name is empty."""

    endpoint: Endpoint
    namespace: str = ""
    table: str = ""
    job_id: str = ""
    file_name: str = ""
    body: bytes = field(default=b"", compare=False, repr=False)

    @property
    def asks_for_changes(self) -> bool:
        """Whether it is a query for an increment."""
        return self.endpoint is Endpoint.DATA and b'"since"' in self.body


class Interceptor:
    """Stands before the service; this one lets everything pass.

    Interceptors are asked in their order, before the login, the token and the limits are looked at.
    """

    async def answer(self, call: Call, proceed: Proceed) -> Response:  # noqa: ARG002
        """Answer a request; `proceed` asks the rest of the service."""
        return await proceed()

    def before_job(self, job: Job) -> None:
        """Look at a job before its work; raise ApiError to fail it with that message."""
