from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from dap_pipeline.dap.answers import read_json, retry_after, server_time
from dap_pipeline.errors import (
    AccountError,
    DapError,
    ForbiddenError,
    InvalidQueryError,
    NotFoundError,
    OutOfRangeError,
    RateLimitedError,
    RequestForbiddenError,
    ServerError,
    SnapshotRequiredError,
    TokenRefusedError,
    UnreachableError,
    UnreadableAnswerError,
)

JSON_TYPE = {"Content-Type": "application/json"}
HTML = b"<html><body>Sorry</body></html>"
UUID = "123e4567-e89b-12d3-a456-426614174000"


def response(
    status: int, body: bytes | object = b"", headers: dict[str, str] | None = None
) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.url = "https://dap.example/dap"
    made._content = body if isinstance(body, bytes) else json.dumps(body).encode()
    default = {} if isinstance(body, bytes) else JSON_TYPE
    made.headers.update(default if headers is None else {**default, **headers})
    return made


def error(type: str = "Some", **more: Any) -> dict[str, Any]:
    return {"error": {"type": type, "uuid": UUID, "message": "Said so.", **more}}


RANGE = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
LOCATION = {"location": {"line": 1, "column": 2, "character": 3}}
TABLE: list[tuple[int, bytes | dict[str, Any] | list[Any] | str, type[DapError]]] = [
    (400, error("ValidationError", **LOCATION), InvalidQueryError),
    (400, error("ValidationError"), InvalidQueryError),
    (400, error("OutOfRangeError", **RANGE), OutOfRangeError),
    (400, error("OutOfRangeError", since=RANGE["since"]), OutOfRangeError),
    (400, error("SnapshotRequiredError", **RANGE), SnapshotRequiredError),
    (400, error("SnapshotRequired", **RANGE), SnapshotRequiredError),
    (400, error("com.school.dap.SnapshotRequiredError", **RANGE), SnapshotRequiredError),
    (400, HTML, InvalidQueryError),
    (401, error("AuthenticationError"), TokenRefusedError),
    (401, b"", TokenRefusedError),
    *[
        (status, error(kind), AccountError)
        for status in (403, 500)
        for kind in ("AccountDisabled", "AccountNotOnboarded", "AccountUnderMaintenance")
    ],
    (403, error("RequestTypeForbidden"), RequestForbiddenError),
    (500, error("RequestTypeForbidden"), RequestForbiddenError),
    (403, error("Forbidden"), ForbiddenError),
    (403, HTML, ForbiddenError),
    *[
        (404, error("ObjectNotFound", kind=kind, id="x"), NotFoundError)
        for kind in ("namespace", "table", "object", "job")
    ],
    (404, {"message": "Not Found"}, NotFoundError),
    (404, HTML, NotFoundError),
    (408, HTML, UnreachableError),
    (429, error("TooManyRequests"), RateLimitedError),
    (429, {"message": "Limit exceeded"}, RateLimitedError),
    (429, HTML, RateLimitedError),
    (500, error("InternalError"), ServerError),
    (500, b"", ServerError),
    (502, HTML, ServerError),
    (503, {"error": "unavailable"}, ServerError),
    (504, {"message": "Endpoint request timed out"}, ServerError),
    (504, error("GatewayTimeoutError"), ServerError),
    (599, [1, 2], ServerError),
    (302, b"", UnreadableAnswerError),
    (405, {"message": "Method Not Allowed"}, UnreadableAnswerError),
    (418, "teapot", UnreadableAnswerError),
]


@pytest.mark.parametrize(("status", "body", "kind"), TABLE)
def test_each_status_and_body_has_its_class(
    status: int, body: bytes | object, kind: type[DapError]
) -> None:
    headers = {"Location": "/elsewhere"} if status == 302 else {}
    with pytest.raises(DapError) as caught:
        read_json(response(status, body, headers))
    assert type(caught.value) is kind
    assert f"DAP answered {status}" in str(caught.value)
    assert "<html>" not in str(caught.value)


def test_the_error_tells_what_dap_said_its_type_and_its_uuid() -> None:
    with pytest.raises(ServerError) as caught:
        read_json(response(500, error("InternalError")))
    assert str(caught.value) == (
        f"DAP answered 500: Said so (DAP error type InternalError, uuid {UUID})."
        f" {ServerError.advice}"
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("AccountDisabled", "is disabled"),
        ("AccountNotOnboarded", "not onboarded"),
        ("AccountUnderMaintenance", "under maintenance"),
    ],
)
def test_an_account_that_may_not_is_told_in_plain_words_and_ends_the_run(
    kind: str, words: str
) -> None:
    with pytest.raises(AccountError, match=words) as caught:
        read_json(response(403, error(kind)))
    assert caught.value.ends_run
    assert not caught.value.retryable


@pytest.mark.parametrize("kind", ["namespace", "table", "object", "job"])
def test_what_is_not_found_tells_its_kind(kind: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        read_json(response(404, error("ObjectNotFound", kind=kind)))
    assert caught.value.kind == kind


def test_out_of_range_tells_what_is_permitted() -> None:
    with pytest.raises(OutOfRangeError) as caught:
        read_json(response(400, error("OutOfRangeError", **RANGE)))
    assert (caught.value.since, caught.value.until) == (RANGE["since"], RANGE["until"])
    assert f"permitted from {RANGE['since']} to {RANGE['until']}" in str(caught.value)


@pytest.mark.parametrize("since", [None, 7, {"a": 1}, "x" * 1000, "\ud800"])
def test_out_of_range_with_an_odd_permitted_range_is_out_of_range(since: object) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        read_json(response(400, error("OutOfRangeError", since=since)))
    assert caught.value.since is None
    assert len(str(caught.value)) < 400


def test_an_account_fault_is_none_when_the_answer_is_good() -> None:
    payload = error("AccountDisabled")
    assert read_json(response(200, payload)) == payload


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "a/b+json"]
)
def test_a_good_answer_is_json_by_its_content_type(kind: str) -> None:
    assert read_json(response(202, b'{"a": 1}', {"Content-Type": kind})) == {"a": 1}


@pytest.mark.parametrize("kind", ["", "text/html", "text/plain", "application/octet-stream"])
def test_another_content_type_is_unreadable(kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    with pytest.raises(UnreadableAnswerError, match="instead of application/json") as caught:
        read_json(response(200, b'{"a": 1}', headers))
    assert caught.value.retryable


@pytest.mark.parametrize(
    "body", [b"", HTML, b'{"a": ', b"\xff\xfe\x00", b"[" * 100_000, b"1" * 5000]
)
def test_a_body_that_is_no_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableAnswerError, match="not JSON"):
        read_json(response(200, body, JSON_TYPE))


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_is_unreadable(status: int) -> None:
    with pytest.raises(UnreadableAnswerError):
        read_json(response(status))


NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("17", 17.0),
        (" 3 ", 3.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Mon, 23 Nov 2026 13:00:30 +0100", 30.0),
        ("Mon, 23 Nov 2026 12:00:30 -0000", 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("9" * 5000, None),
        ("Mon, 32 Nov 2026 12:00:30 GMT", None),
        ("Mon, 23 Nov 2026 12:00:30 +99999999999999", None),
        ("Fri, 31 Dec 9999 23:00:00 -2300", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_by_the_servers_clock(
    value: str, seconds: float | None
) -> None:
    headers = {"Retry-After": value, "Date": format_datetime(NOW, usegmt=True)}
    answer = response(429, b"", headers)
    assert retry_after(answer) == seconds
    with pytest.raises(RateLimitedError) as caught:
        read_json(answer)
    assert caught.value.retry_after == seconds


def test_a_server_that_is_down_may_say_for_how_long() -> None:
    with pytest.raises(ServerError) as caught:
        read_json(response(503, HTML, {"Retry-After": "8"}))
    assert caught.value.retry_after == 8.0


def test_the_servers_clock_is_its_date_header() -> None:
    answer = response(200, {}, {"Date": "Mon, 23 Nov 2026 13:00:00 +0100"})
    assert server_time(answer) == NOW
    assert server_time(answer).utcoffset() == timedelta()


@pytest.mark.parametrize(
    "date",
    ["", "now", "Fri, 31 Dec 9999 23:00:00 -2300", "Mon, 23 Nov 2026 12:00 +9999999999999999"],
)
def test_without_a_date_that_can_be_read_our_own_clock_has_to_do(date: str) -> None:
    told = server_time(response(200, {}, {"Date": date}))
    assert abs(told - datetime.now(UTC)) < timedelta(minutes=5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
FIELDS = ["type", "uuid", "message", "since", "until", "kind", "error", "location"]
BODIES = st.dictionaries(st.sampled_from(FIELDS), JSON)
STATUSES = st.sampled_from([200, 302, 400, 401, 403, 404, 408, 410, 429, 500, 503, 504])


def outcome(status: int, body: bytes) -> object:
    """Give the class of the error, or None when there is none."""
    try:
        read_json(response(status, body, JSON_TYPE))
    except DapError as error:
        str(error).encode("utf-8")
        return type(error)
    return None


@given(status=STATUSES, body=JSON | BODIES | BODIES.map(lambda b: {"error": b}))
@settings(max_examples=200, deadline=None)
def test_whatever_the_error_body_holds_the_status_decides(status: int, body: object) -> None:
    ranged = {OutOfRangeError} if status == 400 else set()
    assert outcome(status, json.dumps(body).encode()) in {outcome(status, b"{}"), *ranged}


@given(value=st.text(st.characters(codec="latin-1"), max_size=60))
@settings(max_examples=150, deadline=None)
def test_whatever_the_headers_hold_there_is_a_wait_or_none_and_a_clock(value: str) -> None:
    answer = response(429, b"", {"Retry-After": value, "Date": value})
    seconds = retry_after(answer)
    assert seconds is None or seconds >= 0
    assert server_time(answer).tzinfo is not None
