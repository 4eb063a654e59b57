"""Turns what DAP answered into a JSON value or into the error that it means."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from dap_pipeline.dap.models import DapFault, parse_answer
from dap_pipeline.errors import (
    AccountError,
    DapError,
    ForbiddenError,
    InvalidQueryError,
    NotFoundError,
    OutOfRangeError,
    Place,
    RateLimitedError,
    RequestForbiddenError,
    ServerError,
    SnapshotRequiredError,
    TokenRefusedError,
    UnreachableError,
    UnreadableAnswerError,
)

# The literal `type` values of the 403 answers; the API document lists two of them under 500.
ACCOUNT_FAULTS = {
    "AccountDisabled": "the account is disabled",
    "AccountNotOnboarded": "the account is not onboarded to DAP",
    "AccountUnderMaintenance": "the account is under maintenance",
}
REQUEST_FORBIDDEN = "RequestTypeForbidden"

_INSTANT = re.compile(r"[0-9TZ:.+-]{1,40}")
_SECONDS = re.compile(r"[0-9]{1,9}")


def read_json(response: requests.Response) -> object:
    """Give the JSON value of a 2xx answer.

    Raises:
        DapError: the class that the status and body stand for.
    """
    if response.ok and not response.is_redirect:
        return _json_of(response)
    raise _error_of(response)


def _json_of(response: requests.Response) -> object:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnreadableAnswerError(
            f"DAP answered {response.status_code} with content type {kind[:60] or 'none'!r} "
            "instead of application/json"
        )
    try:
        return response.json()
    except (ValueError, RecursionError):
        raise UnreadableAnswerError(
            f"DAP answered {response.status_code} with a body that is not JSON"
        ) from None


def _error_of(response: requests.Response) -> DapError:
    body = _error_body(response)
    fault = parse_answer(DapFault, body)
    place = Place(uuid=fault.uuid or None, error_type=fault.type or None)
    status = response.status_code
    said = f"DAP answered {status}" + (f": {fault.message.rstrip('.')}" if fault.message else "")
    if fault.type in ACCOUNT_FAULTS and status >= 400:
        return AccountError(f"{ACCOUNT_FAULTS[fault.type]}; {said}", place=place)
    if fault.type == REQUEST_FORBIDDEN and status >= 400:
        return RequestForbiddenError(said, place=place)
    if status == 429:
        return RateLimitedError(said, retry_after=retry_after(response), place=place)
    if status >= 500:
        return ServerError(said, retry_after=retry_after(response), place=place)
    return _client_error(status, said, body, place)


def _client_error(status: int, said: str, body: dict[str, Any], place: Place) -> DapError:
    match status:
        case 400:
            return _bad_request(said, body, place)
        case 401:
            return TokenRefusedError(said, place=place)
        case 403:
            # A firewall answers so, too: only DAP's own word says that other queries are permitted.
            return ForbiddenError(said, place=place)
        case 404:
            kind = body.get("kind")
            return NotFoundError(said, kind=kind if isinstance(kind, str) else "", place=place)
        case 408:
            return UnreachableError(said, place=place)
        case _:
            return UnreadableAnswerError(said, place=place)


def _bad_request(said: str, body: dict[str, Any], place: Place) -> DapError:
    """Tell the three kinds of 400 apart; two of them have the same shape and differ by type."""
    if "since" not in body:
        return InvalidQueryError(said, place=place)
    since, until = (_instant(body.get(k)) for k in ("since", "until"))
    permitted = f"{said} (permitted from {since or 'nowhere'}" + (f" to {until})" if until else ")")
    short_type = (place.error_type or "").rpartition(".")[2]
    kind = SnapshotRequiredError if short_type.startswith("SnapshotRequired") else OutOfRangeError
    return kind(permitted, since=since, until=until, place=place)


def _error_body(response: requests.Response) -> dict[str, Any]:
    """Give the error object; a gateway may answer without the wrapper, or with HTML."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    if not isinstance(body, dict):
        return {}
    inner = body.get("error", body)
    return inner if isinstance(inner, dict) else {}


def _instant(value: object) -> str | None:
    """Give the instant as DAP wrote it; None where it wrote none."""
    return value if isinstance(value, str) and _INSTANT.fullmatch(value) else None


def retry_after(response: requests.Response) -> float | None:
    """Read the Retry-After header, in seconds from now; None where there is none to read."""
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    if _SECONDS.fullmatch(value):
        return float(value)
    at = _http_date(value)
    return None if at is None else max((at - server_time(response)).total_seconds(), 0.0)


def server_time(response: requests.Response) -> datetime:
    """Give the server's clock where the answer tells it, else ours."""
    return _http_date(response.headers.get("Date", "")) or datetime.now(UTC)


def _http_date(value: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(value)
        # A date in -0000 comes without a time zone; it is one of UTC all the same.
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
