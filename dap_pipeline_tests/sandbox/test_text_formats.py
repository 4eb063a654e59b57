from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from dap_pipeline.sandbox.serve import RunningSandbox

from . import small_school
from .caller import Caller
from .small_school import COMMITTED_AT, NASTY_TEXT, Row

EXPANDED = [
    "key.id",
    "value.label",
    "value.small",
    "value.medium",
    "value.big",
    "value.any_integer",
    "value.status",
    "value.single",
    "value.double",
    "value.any_number",
    "value.points",
    "value.flag",
    "value.at",
    "value.day",
    "value.clock",
    "value.length",
    "value.token",
    "value.text",
    "value.address",
    "value.free",
    "value.nested.plain",
    "value.nested.number",
    "value.nested.deep.seen_at",
    "value.nested.deep.ratio",
    "value.words",
    "value.steps",
    "meta.ts",
]
CONDENSED = [name for name in EXPANDED if not name.startswith("value.nested.")]
CONDENSED.insert(CONDENSED.index("value.words"), "value.nested")


def tsv_rows(caller: Caller, **query: str) -> list[dict[str, str]]:
    text = caller.text(caller.ended_job("everything", format="tsv", **query))
    assert text.endswith("\n")
    header, *lines = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    assert {len(line) for line in lines} <= {len(header)}
    return [dict(zip(header, line, strict=True)) for line in lines]


def csv_lines(caller: Caller, **query: str) -> list[str]:
    return caller.text(caller.ended_job("everything", format="csv", **query)).split("\n")


def json_rows(caller: Caller, **query: str) -> list[str]:
    text = caller.text(caller.ended_job("everything", format="jsonl", **query))
    assert text.endswith("\n")
    return text.removesuffix("\n").split("\n")


def test_columns_stand_in_the_order_key_value_meta(caller: Caller) -> None:
    assert list(tsv_rows(caller)[0]) == EXPANDED
    assert csv_lines(caller)[0].split(",") == EXPANDED


def test_an_increment_has_the_action_as_its_last_column(caller: Caller) -> None:
    rows = tsv_rows(caller, since=_text(small_school.EARLIER))
    assert list(rows[0]) == [*EXPANDED, "meta.action"]
    assert [row["meta.action"] for row in rows] == ["U", "U", "U", "D"]


def test_a_deleted_row_has_only_its_key(caller: Caller) -> None:
    deleted = tsv_rows(caller, since=_text(small_school.EARLIER))[-1]
    assert deleted["key.id"] == "4"
    assert {value for name, value in deleted.items() if name.startswith("value.")} == {r"\N"}
    line = csv_lines(caller, since=_text(small_school.EARLIER))[-2]
    assert line == "4" + "," * 26 + "2026-11-20T08:00:00Z,D"


def test_condensed_mode_keeps_a_nested_object_in_one_column(caller: Caller) -> None:
    first, second, third = tsv_rows(caller, mode="condensed")
    assert list(first) == CONDENSED
    text = first["value.nested"]
    # JSON escapes first, TSV escapes what came out of that.
    assert r'multi-\\nline \\"x\\"\\\\' in text
    assert json.loads(_unescaped(text)) == {
        "plain": 'multi-\nline "x"\\',
        "deep": {"seen_at": "2020-01-01T00:00:00Z", "ratio": 2.5},
    }
    assert (second["value.nested"], third["value.nested"]) == (r"\N", r"\N")


def test_condensed_csv_leaves_a_nested_object_without_values_blank(caller: Caller) -> None:
    text = caller.text(caller.ended_job("everything", format="csv", mode="condensed"))
    # Not through splitlines: the nasty text holds line ends of its own inside quotes.
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["value.nested"] == "" for row in rows] == [False, True, True]


def test_tsv_escapes_what_postgresql_escapes(caller: Caller) -> None:
    first, second, third = tsv_rows(caller)
    assert _unescaped(first["value.text"]) == NASTY_TEXT
    for control in "\b\f\r\v":
        assert control not in first["value.text"]
    assert first["value.label"] == r"a\tb"
    assert (second["value.text"], second["value.points"]) == ("", r"\N")
    assert third["value.text"] == "NULL"


def test_tsv_writes_a_text_of_backslash_and_n_unlike_null(sandbox: RunningSandbox) -> None:
    row = Row({"id": 9, "text": r"\N"})
    small_school.insert(sandbox.service.store, "canvas", "everything", [row])
    assert tsv_rows(Caller(sandbox))[-1]["value.text"] == r"\\N"


def test_tsv_writes_numbers_instants_and_lists_in_their_plain_forms(caller: Caller) -> None:
    first, second, third = tsv_rows(caller)
    assert (
        first
        | {
            "value.small": "-32768",
            "value.medium": "2147483647",
            "value.big": "9223372036854775807",
            "value.single": "0.1",
            "value.double": "1e+300",
            "value.any_number": "-0.5",
            "value.points": "-999.99",
            "value.flag": "true",
            "value.at": "2023-10-23T01:02:03.12Z",
            "value.day": "2024-02-29",
            "value.clock": "23:59:59.5Z",
            "value.length": "P1DT2H",
            "value.nested.deep.seen_at": "2020-01-01T00:00:00Z",
            "value.nested.number": r"\N",
            "value.words": '["",null,"a,b"]',
            "value.steps": '[{"at":"2021-02-03T04:05:06Z"},null]',
            "meta.ts": "2026-11-20T08:00:00Z",
        }
        == first
    )
    assert (second["value.words"], second["value.flag"]) == ("[]", "false")
    assert third["value.double"] == "NaN"
    assert third["value.any_number"] == "Infinity"
    assert third["value.single"] == "-Infinity"


def test_csv_tells_an_empty_text_from_a_missing_one(caller: Caller) -> None:
    line = next(line for line in csv_lines(caller) if line.startswith("2,"))
    fields = dict(zip(EXPANDED, line.split(","), strict=True))
    assert (fields["value.label"], fields["value.text"]) == ('""', '""')
    assert (fields["value.points"], fields["value.token"]) == ("", "")


def test_csv_quotes_only_what_needs_it(caller: Caller) -> None:
    text = caller.text(caller.ended_job("everything", format="csv"))
    first, _, third = csv.DictReader(io.StringIO(text, newline=""))
    assert first["value.text"] == NASTY_TEXT
    assert json.loads(first["value.words"]) == ["", None, "a,b"]
    assert third["value.text"] == "NULL"
    assert ',"NULL",' in text
    assert ",2024-02-29," in text
    assert ',"a\tb",' in text


def test_json_lines_leave_out_what_is_null(caller: Caller) -> None:
    _, second, _ = map(json.loads, json_rows(caller))
    assert second == {
        "key": {"id": 2},
        "value": {"label": "", "text": "", "flag": False, "words": []},
        "meta": {"ts": "2026-11-20T08:00:00Z"},
    }


def test_json_lines_keep_nested_values_and_exact_numbers(caller: Caller) -> None:
    line = json_rows(caller)[0]
    value = json.loads(line)["value"]
    assert value["text"] == NASTY_TEXT
    assert value["nested"] == {
        "plain": 'multi-\nline "x"\\',
        "deep": {"seen_at": "2020-01-01T00:00:00Z", "ratio": 2.5},
    }
    assert value["free"] == {"a": [1, None], "b\n": "x"}
    assert value["words"] == ["", None, "a,b"]
    assert value["steps"] == [{"at": "2021-02-03T04:05:06Z"}, None]
    assert value["at"] == "2023-10-23T01:02:03.12Z"
    assert '"points":-999.99' in line
    assert '"single":0.1,' in line


def test_json_lines_quote_numbers_that_are_none(caller: Caller) -> None:
    value = json.loads(json_rows(caller)[2])["value"]
    assert value["double"] == "NaN"
    assert value["any_number"] == "Infinity"
    assert value["single"] == "-Infinity"


def test_a_deleted_json_line_has_no_value(caller: Caller) -> None:
    lines = json_rows(caller, since=_text(small_school.EARLIER))
    assert json.loads(lines[0])["meta"] == {"ts": "2026-11-20T08:00:00Z", "action": "U"}
    assert json.loads(lines[-1]) == {
        "key": {"id": 4},
        "meta": {"ts": "2026-11-20T08:00:00Z", "action": "D"},
    }


@pytest.mark.parametrize(
    ("sql", "written"),
    [
        ("12345-01-02 03:04:05.6", "+12345-01-02T03:04:05.6Z"),
        ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999Z"),
        ("0001-01-01 00:00:00", "0001-01-01T00:00:00Z"),
        ("0044-03-15 (BC) 00:00:00.5", "-0043-03-15T00:00:00.5Z"),
        ("0001-03-15 (BC) 00:00:00", "0000-03-15T00:00:00Z"),
    ],
)
def test_years_out_of_four_digits_take_the_extended_form(
    sandbox: RunningSandbox, sql: str, written: str
) -> None:
    with sandbox.service.store.transaction() as cursor:
        cursor.execute(f"""UPDATE canvas.everything SET "at" = '{sql}' WHERE id = 1""")
    assert json.loads(json_rows(Caller(sandbox))[0])["value"]["at"] == written


@pytest.mark.parametrize("format_name", ["tsv", "csv", "jsonl"])
def test_the_same_rows_give_the_same_bytes(caller: Caller, format_name: str) -> None:
    first = caller.files(caller.ended_job("users", format=format_name))
    caller.sandbox.service.clock.advance(timedelta(hours=25))
    again = Caller(caller.sandbox)
    assert again.files(again.ended_job("users", format=format_name)) == first


def test_each_part_has_its_own_header_and_the_rows_are_in_order_of_the_key(caller: Caller) -> None:
    parts = caller.files(caller.ended_job("users", format="tsv"))
    lines = [gzip.decompress(part).decode().splitlines() for part in parts]
    assert [len(part) for part in lines] == [26, 26, 11]
    assert {part[0] for part in lines} == {
        "key.id\tvalue.name\tvalue.created_at\tvalue.workflow_state\tmeta.ts"
    }
    keys = [int(line.split("\t")[0]) for part in lines for line in part[1:]]
    assert keys == list(range(1, small_school.USERS + 1))


def _unescaped(text: str) -> str:
    escapes = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
    characters = iter(text)
    return "".join(
        escapes[next(characters)] if character == "\\" else character for character in characters
    )


def _text(instant: datetime) -> str:
    assert instant.astimezone(UTC) < COMMITTED_AT
    return instant.isoformat().replace("+00:00", "Z")
