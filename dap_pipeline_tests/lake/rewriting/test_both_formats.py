"""Parquet and JSONL parts with the same content give the same rows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dap_pipeline_tests.lake.making import (
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    INSTANT,
    INT16,
    INT32,
    INT64,
    JSON,
    STRING,
    Raw,
    column_of,
    comparable,
    decimal,
    list_of,
    object_of,
    rewritten,
    rows_of,
    shape,
    write_jsonl,
    write_parquet,
)

_MICROS = 1_000_000
_DAY = 86_400 * _MICROS


@dataclass(frozen=True)
class Field:
    """A type of field: how it is described, made, written in both formats, and read back."""

    schema: dict[str, Any]
    values: st.SearchStrategy[Any]
    arrow: pa.DataType
    in_json: Callable[[Any], Any] = lambda value: value
    in_arrow: Callable[[Any], Any] = lambda value: value
    expected: Callable[[Any], Any] = lambda value: value


def _date_text(days: int) -> str:
    """Write days since 1970 as ISO 8601 does, with any year."""
    # The calendar repeats every 400 years, which are 146097 days.
    cycles, rest = divmod(days + 719_468, 146_097)
    from_march = rest - rest // 1460 + rest // 36_524 - rest // 146_096
    year = from_march // 365
    day_of_year = rest - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    full = cycles * 400 + year + (month <= 2)
    sign = "-" if full < 0 else ("+" if full > 9999 else "")
    return f"{sign}{abs(full):04d}-{month:02d}-{day:02d}"


def _instant_text(micros: int) -> str:
    days, rest = divmod(micros, _DAY)
    seconds, fraction = divmod(rest, _MICROS)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    digits = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{_date_text(days)}T{clock}{digits}Z"


def _float_json(value: float) -> Any:
    # Python writes NaN and Infinity as they are; `"NaN"` is the other way to write them.
    return str(Decimal(value)) if value != value or abs(value) == float("inf") else value


def _integers(bits: int) -> st.SearchStrategy[int]:
    bound = 1 << (bits - 1)
    edges = st.sampled_from([-bound, bound - 1, 0])
    return st.integers(-bound, bound - 1) | edges


def _decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    # From a text: arithmetic on decimals rounds to 28 digits.
    bound = 10**digits - 1
    return st.integers(-bound, bound).map(lambda number: Decimal(f"{number}e-{scale}"))


_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["", "\0", "a\0b", "\n", '\t"\\/', "\u202eabc", "😀", "null", "NULL", "\\N", "{}", " 1"]
)
_DATES = st.integers(-2_000_000, 2_932_896 + 10_000_000)
_INSTANTS = st.integers(-9_000_000_000_000_000_000, 9_200_000_000_000_000_000)
_LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | _TEXT
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=5
)


def _scalar_fields() -> dict[str, Field]:
    micros = pa.timestamp("us", tz="UTC")
    fields = {
        "int16": Field(INT16, _integers(16), pa.int16()),
        "int32": Field(INT32, _integers(32), pa.int32()),
        "int64": Field(INT64, _integers(64), pa.int64()),
        "plain integer": Field({"type": "integer"}, _integers(64), pa.int64()),
        "double": Field(DOUBLE, st.floats(), pa.float64(), _float_json),
        "bare double": Field(DOUBLE, st.floats(), pa.float64()),
        "float": Field(FLOAT, st.floats(width=32), pa.float32(), _float_json),
        "boolean": Field(BOOLEAN, st.booleans(), pa.bool_()),
        "text": Field(STRING, _TEXT, pa.string()),
        "enum": Field({"enum": ["a", "b"]}, st.sampled_from(["a", "b"]), pa.string()),
        "date": Field(DATE, _DATES, pa.date32(), _date_text),
        "date as text": Field(DATE, _DATES, pa.string(), _date_text, _date_text),
        "json as text": Field(JSON, _TREES.map(json.dumps), pa.string()),
        "instant": Field(INSTANT, _INSTANTS, micros, _instant_text),
        "naive instant": Field(INSTANT, _INSTANTS, pa.timestamp("us"), _instant_text),
        "instant as text": Field(INSTANT, _INSTANTS, pa.string(), _instant_text, _instant_text),
        "millis": Field(
            INSTANT,
            _INSTANTS.map(lambda i: i // 1000 * 1000),
            pa.timestamp("ms", tz="UTC"),
            _instant_text,
            lambda i: i // 1000,
        ),
        "nanos": Field(
            INSTANT,
            st.integers(-9_000_000_000_000_000, 9_000_000_000_000_000),
            pa.timestamp("ns"),
            _instant_text,
            lambda i: i * 1000,
        ),
    }
    for whole, scale in ((3, 2), (9, 6), (15, 0), (18, 3), (28, 10), (38, 0)):
        fields[f"decimal {whole},{scale}"] = Field(
            decimal(whole, scale),
            _decimals(whole + scale, scale),
            pa.decimal128(whole + scale, scale),
        )
    return fields


SCALARS = _scalar_fields()


def _null_if_empty(value: dict[str, Any]) -> dict[str, Any] | None:
    return value if any(member is not None for member in value.values()) else None


def _each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _struct(members: dict[str, Field]) -> Field:
    def all_of(way: str) -> Callable[[Any], Any]:
        return lambda value: {
            name: _each(getattr(member, way))(value[name]) for name, member in members.items()
        }

    def sparse(value: Any) -> Any:
        return {
            name: member for name, member in all_of("in_json")(value).items() if member is not None
        }

    return Field(
        object_of(**{name: member.schema for name, member in members.items()}),
        st.fixed_dictionaries({name: st.none() | m.values for name, m in members.items()}),
        pa.struct([(name, member.arrow) for name, member in members.items()]),
        sparse,
        all_of("in_arrow"),
        lambda value: _null_if_empty(all_of("expected")(value)),
    )


def _list(item: Field) -> Field:
    def all_of(way: str) -> Callable[[Any], Any]:
        return lambda values: [_each(getattr(item, way))(value) for value in values]

    return Field(
        list_of(item.schema),
        st.lists(st.none() | item.values, max_size=4),
        pa.list_(item.arrow),
        all_of("in_json"),
        all_of("in_arrow"),
        all_of("expected"),
    )


# Decimals and instants inside of others are read back as Python objects with ranges of their own.
_INNER = st.sampled_from(
    [SCALARS[n] for n in ("int32", "int64", "double", "boolean", "text", "json as text")]
)
_NAMES = st.text("abcxyzABCXYZ_ .$é0'\"/~*", min_size=1, max_size=6)
_STRUCTS = (
    st.dictionaries(_NAMES, _INNER, min_size=1, max_size=3)
    .filter(lambda members: len({name.casefold() for name in members}) == len(members))
    .map(_struct)
)
FIELDS = (
    st.sampled_from(list(SCALARS.values()))
    | _STRUCTS
    | (_INNER | _STRUCTS).map(_list)
    | (_INNER | _STRUCTS).map(_list).map(_list)
)


@st.composite
def tables(draw: st.DrawFn, most_fields: int) -> tuple[dict[str, Field], list[dict[str, Any]]]:
    fields = draw(st.dictionaries(_NAMES, FIELDS, min_size=1, max_size=most_fields))
    row = st.fixed_dictionaries({name: st.none() | f.values for name, f in fields.items()})
    return fields, draw(st.lists(row, max_size=12))


def check_both_formats(
    table: tuple[dict[str, Field], list[dict[str, Any]]], nulls_omitted: bool
) -> None:
    fields, values = table
    wanted = shape({name: field.schema for name, field in fields.items()})
    in_json = [
        {
            name: _each(fields[name].in_json)(value)
            for name, value in row.items()
            if value is not None or not nulls_omitted
        }
        for row in values
    ]
    in_arrow = [
        {name: _each(fields[name].in_arrow)(value) for name, value in row.items()} for row in values
    ]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        types = {name: field.arrow for name, field in fields.items()}
        cut = len(values) // 2
        roads = {
            "parquet": [write_parquet(home / "part-0.parquet", types, in_arrow)],
            "jsonl": [
                write_jsonl(home / "part-0.json.gz", rows_of(in_json)[:cut]),
                write_jsonl(home / "part-1.json.gz", rows_of(in_json)[cut:]),
            ],
        }
        for road, parts in roads.items():
            out = home / road
            out.mkdir()
            written = rewritten(parts, wanted, out)
            assert written.rows == len(values)
            for column in wanted.columns[1:-1]:
                field = fields[column.source]
                expected = [_each(field.expected)(row[column.source]) for row in values]
                assert column_of(written, column.name) == comparable(expected), (road, column)


def _property(examples: int, most_fields: int) -> Callable[[], None]:
    config = settings(max_examples=examples, deadline=None, suppress_health_check=[*HealthCheck])
    return config(given(tables(most_fields), st.booleans())(check_both_formats))


def test_both_formats_give_the_rows_that_went_in() -> None:
    _property(10, most_fields=5)()


@pytest.mark.slow
def test_both_formats_give_the_rows_that_went_in_for_many_tables() -> None:
    # A wide table costs little more than a narrow one, and has more to go wrong.
    _property(180, most_fields=10)()


def test_instants_are_written_as_iso_8601() -> None:
    assert _instant_text(0) == "1970-01-01T00:00:00Z"
    assert _instant_text(-1) == "1969-12-31T23:59:59.999999Z"
    assert _date_text(-719_528) == "0000-01-01"
    assert _date_text(2_932_897) == "+10000-01-01"
    assert _date_text(11_016) == "2000-02-29"
    assert Raw("1").text == "1"
