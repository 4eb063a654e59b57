"""Error bodies of the Query API.

DAP documents the keys of each error and one `type` word (`ObjectNotFound`); the other words here
are the names of the documented error classes, which is a guess.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from starlette.responses import JSONResponse

from .clock import instant_text


@dataclass(frozen=True)
class Location:
    """Where in a request body the fault lies; all numbers start at 1."""

    line: int
    column: int
    character: int

    @classmethod
    def at(cls, text: str, position: int) -> Self:
        """Locate the character at a position (from 0) of a text."""
        line_start = text.rfind("\n", 0, position) + 1
        line = text.count("\n", 0, position) + 1
        return cls(line, position - line_start + 1, position + 1)


@dataclass(eq=False)
class ApiError(Exception):
    """An error as the API tells it: HTTP status, `type`, `message` and the keys of its class."""

    status: int
    type: str
    message: str
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        """Build the object that stands under `error`."""
        return {
            "type": self.type,
            "uuid": str(uuid.uuid4()),
            "message": self.message,
            **self.extra,
        }

    def response(self) -> JSONResponse:
        """Build the HTTP answer."""
        return JSONResponse({"error": self.details()}, self.status, self.headers)


def validation(message: str, location: Location) -> ApiError:
    """Refuse a body that is not valid JSON or breaks the schema of the request."""
    return ApiError(400, "ValidationError", message, {"location": vars(location)})


def malformed_login(message: str) -> ApiError:
    """Refuse a login that is not a client-credentials request; DAP documents no body for it."""
    return ApiError(400, "MalformedRequest", message)


def bad_credentials() -> ApiError:
    """Refuse a login with unknown credentials; DAP documents no body for it."""
    return ApiError(403, "InvalidCredentials", "The client ID or the client secret is not valid.")


def unauthenticated(message: str) -> ApiError:
    """Refuse a request without a valid access token."""
    return ApiError(401, "AuthenticationError", message)


def impossible_change(message: str) -> ApiError:
    """Refuse a change that no table of its kind can have; only the sandbox is asked for such."""
    return ApiError(400, "ImpossibleChange", message)


def not_found(kind: str, identifier: str) -> ApiError:
    """Refuse a `namespace`, `table`, `job` or `object` that does not exist or has expired."""
    message = f"{kind.capitalize()} does not exist."
    return ApiError(404, "ObjectNotFound", message, {"id": identifier, "kind": kind})


def out_of_range(message: str, since: datetime, until: datetime) -> ApiError:
    """Refuse a range; `since` and `until` are the earliest and latest permitted instants."""
    return ApiError(400, "OutOfRangeError", message, _range(since, until))


def snapshot_required(since: datetime, until: datetime) -> ApiError:
    """Refuse an increment over a reload of the table."""
    message = "The table was reloaded recently: take a new snapshot."
    return ApiError(400, "SnapshotRequiredError", message, _range(since, until))


def processing(message: str) -> ApiError:
    """Describe why a job failed."""
    return ApiError(200, "ProcessingError", message)


def too_many_requests(retry_after: int) -> ApiError:
    """Refuse a request over the rate limit; `retry_after` in whole seconds."""
    return ApiError(
        429,
        "TooManyRequests",
        "The rate limit of this endpoint is used up.",
        headers={"Retry-After": str(retry_after)},
    )


def internal() -> ApiError:
    """Tell of a fault of the service itself, without its details."""
    return ApiError(500, "InternalError", "The service failed to answer; its log tells why.")


def gateway_timeout() -> JSONResponse:
    """Answer as the gateway in front of DAP does when DAP is too slow: a message, nothing else."""
    return JSONResponse({"error": {"message": "Endpoint request timed out"}}, 504)


def _range(since: datetime, until: datetime) -> dict[str, str]:
    return {"since": instant_text(since), "until": instant_text(until)}
