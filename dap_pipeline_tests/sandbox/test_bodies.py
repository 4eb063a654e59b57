from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dap_pipeline.sandbox.errors import ApiError
from dap_pipeline.sandbox.queries import (
    Format,
    Mode,
    Query,
    parse_advance,
    parse_object_ids,
    parse_query,
)

from .caller import Caller


def place(body: str) -> tuple[int, int, int]:
    with pytest.raises(ApiError) as caught:
        parse_query(body.encode())
    location = caught.value.extra["location"]
    assert caught.value.status == 400
    return location["line"], location["column"], location["character"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", (1, 1, 1)),
        ('{\n  "format" "tsv"\n}', (2, 12, 14)),
        ("[]", (1, 1, 1)),
        ("{}", (1, 1, 1)),
        ('{"format": "tsv", "filter": "x"}', (1, 19, 19)),
        ('{\n "format": "tsv",\n "a": {"b": [1, "}"]}, "mode": 1}', (3, 2, 22)),
        ('{"format": "xml"}', (1, 12, 12)),
        ('{"format": null}', (1, 12, 12)),
        ('{"format": "tsv", "mode": "compressed"}', (1, 27, 27)),
        ('{"format": "tsv", "until": "2026-01-01T00:00:00Z"}', (1, 19, 19)),
        ('{"format": "tsv", "since": "yesterday"}', (1, 28, 28)),
        ('{"format": "tsv", "since": "2026-01-01"}', (1, 28, 28)),
        ('{"format": "tsv", "since": "2026-01-01T00:00:00"}', (1, 28, 28)),
        ('{"format": "tsv", "since": "2026-02-30T00:00:00Z"}', (1, 28, 28)),
        ('{"format": "tsv", "since": 5}', (1, 28, 28)),
        ('{"é": "", "format" : "tsv" , "since":\t"x"}', (1, 2, 2)),
    ],
)
def test_the_place_of_a_fault_is_told(body: str, expected: tuple[int, int, int]) -> None:
    assert place(body) == expected


def test_a_refused_body_is_answered_as_documented(caller: Caller) -> None:
    answer = caller.data("users", b'{"format": "tsv"')
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.keys() == {"type", "uuid", "message", "location"}
    assert error["location"] == {"line": 1, "column": 17, "character": 17}


def test_a_body_may_come_as_plain_text(caller: Caller) -> None:
    assert caller.data("users", b'{"format": "tsv"}').status_code == 202


def test_a_name_that_is_no_unicode_is_refused_like_any_other(caller: Caller) -> None:
    assert caller.data("users", b'{"\\ud800": 1}').status_code == 400
    answer = caller.post("/dap/object/url", b'[{"id": "\\ud800"}]')
    assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "object")


def status(parse: Callable[[bytes], object], body: bytes) -> int:
    try:
        parse(body)
    except ApiError as error:
        return error.status
    return 200


@given(st.binary(max_size=60))
def test_no_bytes_break_a_reader(body: bytes) -> None:
    for parse in (parse_query, parse_object_ids, parse_advance):
        assert status(parse, body) in {200, 400}


VALUES = st.none() | st.text(max_size=5) | st.integers() | st.lists(st.none(), max_size=2)


@given(st.dictionaries(st.sampled_from(["format", "mode", "since", "until", "x"]), VALUES))
def test_no_json_object_breaks_a_reader(document: dict[str, object]) -> None:
    for indent in (None, 1):
        body = json.dumps(document, indent=indent).encode()
        assert status(parse_query, body) == 400
        assert status(parse_object_ids, b"[" + body + b"]") == 400


def test_a_query_survives_being_written_down() -> None:
    query = parse_query(
        b'{"format": "csv", "mode": "condensed", "since": "2026-01-01T01:00:00.5+01:00"}'
    )
    assert Query.from_text(query.text()) == query
    assert (query.format, query.mode, query.until) == (Format.CSV, Mode.CONDENSED, None)
    assert query.since is not None
    assert query.since.isoformat() == "2026-01-01T00:00:00.500000+00:00"


@pytest.mark.parametrize(
    ("body", "character"),
    [
        ('{"id": "x"}', 1),
        ('["x"]', 2),
        ('[{"id": "x"}, {"id": 5}]', 15),
        ('[ {"id": "x", "y": 1}]', 3),
        ('[{"id": "a"},\n{}]', 15),
    ],
)
def test_a_list_of_objects_is_checked(body: str, character: int) -> None:
    with pytest.raises(ApiError) as caught:
        parse_object_ids(body.encode())
    assert caught.value.extra["location"]["character"] == character


def test_a_list_of_objects_is_read_in_order() -> None:
    assert parse_object_ids(b' [ {"id": "b/2"} , {"id": "a/1"} ] ') == ["b/2", "a/1"]


def test_an_advance_is_4_hours_unless_told_otherwise() -> None:
    assert parse_advance(b"") == (4, 1)
    assert parse_advance(b'{"hours": 0.5, "steps": 3}') == (0.5, 3)


@pytest.mark.parametrize(
    "body",
    [
        b'{"hours": -1}',
        b'{"hours": true}',
        b'{"hours": NaN}',
        b'{"steps": 0}',
        b'{"steps": 1.5}',
        b'{"days": 1}',
        b"[]",
    ],
)
def test_a_senseless_advance_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError):
        parse_advance(body)
