"""What does not fit a table's schema is refused: never rounded, cut, passed over or made NULL."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.inspecting import LONGEST_LINE
from dap_pipeline.lake.rewriting.unpacking import unpack
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
    TS,
    Raw,
    as_json,
    column_of,
    decimal,
    list_of,
    object_of,
    rewritten,
    rows_of,
    shape,
    write_jsonl,
    write_lines,
    write_parquet,
)

_WRONG_IN_JSON: list[tuple[dict[str, Any], str]] = [
    (INT16, "32768"),
    (INT32, "-2147483649"),
    (INT64, "9223372036854775808"),
    (INT64, "1.5"),
    (INT64, "1e-1"),
    (INT64, '"1_000"'),
    (INT64, '"0x10"'),
    (INT64, '""'),
    (INT64, "true"),
    (INT64, "[1]"),
    (INT64, '{"a": 1}'),
    (DOUBLE, '"many"'),
    (DOUBLE, "1e400"),
    (DOUBLE, "true"),
    (FLOAT, "1e39"),
    (decimal(3, 2), "1.005"),
    (decimal(3, 2), "1000.00"),
    (decimal(3, 2), '"1e-3"'),
    (decimal(20, 6), "12345678901234567890.1234567"),
    (BOOLEAN, "1"),
    (BOOLEAN, '"yes"'),
    (BOOLEAN, '"TRUE"'),
    (INSTANT, '"2023-10-23T01:02:03.1234567Z"'),
    (INSTANT, '"2023-02-30T00:00:00Z"'),
    (INSTANT, '"2023-10-23T01:02:61Z"'),
    (INSTANT, '"epoch"'),
    (INSTANT, '"infinity"'),
    (INSTANT, '"now"'),
    (INSTANT, '"2023-10-23T01:02:03 Europe/Berlin"'),
    (INSTANT, '""'),
    (INSTANT, "1698023"),
    (INSTANT, '"+300000-01-01T00:00:00Z"'),
    (DATE, '"2023-10-23T01:02:03Z"'),
    (DATE, '"2023-02-30"'),
    (DATE, '"epoch"'),
    (object_of(a=INT64), '{"a": 1, "b": 2}'),
    (object_of(a=object_of(b=INT64)), '{"a": {"b": 1, "c": 2}}'),
    (object_of(a=INT64), '{"a": "x"}'),
    (object_of(a=INT64), "[1]"),
    (object_of(a=INT64), "5"),
    (list_of(INT64), '["x"]'),
    (list_of(INT64), "{}"),
    (list_of(object_of(a=INT64)), '[{"a": 1}, {"b": 1}]'),
    (list_of(list_of(INT64)), "[[1], [1.5]]"),
]


@pytest.mark.parametrize(("field", "text"), _WRONG_IN_JSON)
def test_a_json_value_that_does_not_fit_is_located(
    tmp_path: Path, field: dict[str, Any], text: str
) -> None:
    table = shape({"odd": field, "even": STRING})
    good = write_jsonl(tmp_path / "part-00000.jsonl.gz", rows_of([{"even": "x"}] * 3))
    rows = rows_of([{"even": "x"}, {"even": "y"}, {"odd": Raw(text)}, {"odd": Raw(text)}])
    bad = write_jsonl(tmp_path / "part-00001.jsonl.gz", rows)
    with pytest.raises(MisfitError, match=r"part-00001.jsonl.gz, row 3: value.odd"):
        rewritten([good, bad], table, tmp_path)
    assert not (tmp_path / "tidy.parquet").exists()
    assert not (tmp_path / "spill").exists()


_WRONG_IN_PARQUET: list[tuple[dict[str, Any], pa.DataType, Any]] = [
    (INT32, pa.int64(), 1 << 31),
    (INT64, pa.uint64(), 1 << 63),
    (INT64, pa.float64(), 1.5),
    (INT64, pa.string(), "1.5"),
    (INT64, pa.decimal128(38, 2), Decimal("1.50")),
    (FLOAT, pa.float64(), 1e39),
    (DOUBLE, pa.string(), "1e400"),
    (decimal(3, 2), pa.decimal128(10, 4), Decimal("1.0050")),
    (decimal(3, 2), pa.float64(), 1.005),
    (BOOLEAN, pa.int8(), 1),
    (INSTANT, pa.timestamp("ns"), 1_001),
    (INSTANT, pa.string(), "2023-10-23T01:02:03.1234567Z"),
    (INSTANT, pa.int64(), 1_698_023_000_000_000),
    (DATE, pa.timestamp("us"), 1),
    (STRING, pa.binary(), b"\xff\xfe"),
    (object_of(a=INT64), pa.struct([("a", pa.string())]), {"a": "x"}),
    (object_of(a=INT64), pa.string(), '{"a": 1, "b": 2}'),
    (object_of(a=INT64), pa.string(), "nonsense"),
    (list_of(INT64), pa.list_(pa.string()), ["1", "x"]),
    (list_of(INT64), pa.string(), '[1, "x"]'),
]


@pytest.mark.parametrize(("field", "type_", "value"), _WRONG_IN_PARQUET)
def test_a_parquet_value_that_does_not_fit_is_located(
    tmp_path: Path, field: dict[str, Any], type_: pa.DataType, value: Any
) -> None:
    table = shape({"odd": field})
    values = [{"odd": None}, {"odd": value}, {"odd": value}]
    good = write_parquet(tmp_path / "part-00000.parquet", {"odd": type_}, values[:1])
    bad = write_parquet(tmp_path / "part-00001.parquet", {"odd": type_}, values)
    with pytest.raises(MisfitError, match=r"part-00001.parquet(, row 2)?: value.odd"):
        rewritten([good, bad], table, tmp_path)
    assert not (tmp_path / "tidy.parquet").exists()


_WRONG_LINES: list[tuple[bytes, str]] = [
    (b'{"key": {"id": 1}', "row 2: the line is not JSON"),
    (b"nonsense", "row 2: the line is not JSON"),
    (b'[{"key": {"id": 1}}]', "row 2: the line is not a JSON object"),
    (b"5", "row 2: the line is not a JSON object"),
    (b'{"key": {"id": 1}} {"key": {"id": 2}}', "row 2: the line is not JSON"),
    (b'{"key": {"id": 1}, "extra": 1}', "row 2: extra is not in the table's schema"),
    (b'{"key": {"id": 1}, "value": {"zz": 1}}', "row 2: value.zz is not in the table's schema"),
    (b'{"key": {"id": 1, "no": 1}}', "row 2: key.no is not in the table's schema"),
    (b'{"key": {"id": 1}, "meta": {"by": 1}}', "row 2: meta.by is not in the table's schema"),
    (b'{"key": {"id": 1}, "value": 5}', "row 2: value is not an object"),
    (b'{"key": {"id": 1}, "value": {"a": "x", "a": "y"}}', "row 2: the line names a property"),
    (b'{"key": {"id": 1}, "value": {"a": "\\ud800"}}', "row 2: the line is not valid Unicode"),
    (b'{"key": {"id": 1}, "value": {"a": "\xff"}}', "row 2: the line is not"),
    (b'{"key": {"id": 1}, "value": {"A": "x"}}', "row 2: value.A is not in the table's schema"),
    (b'{"value": {"a": "x"}, "meta": {"ts": "2024-01-02T03:04:05Z"}}', "row 2: key.id is required"),
    (b'{"key": {"id": null}, "meta": {"ts": "2024-01-02T03:04:05Z"}}', "row 2: key.id is required"),
    (b'{"key": {"id": 5}}', "row 2: meta.ts is required"),
    (b"{}", "row 2: key.id is required"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "what"), _WRONG_LINES)
def test_a_line_that_does_not_fit_is_located(tmp_path: Path, line: bytes, what: str) -> None:
    good = as_json({"key": {"id": 1}, "value": {"a": "x"}, "meta": {"ts": TS}})
    part = write_lines(tmp_path / "part-00000.jsonl.gz", [good, line, good])
    with pytest.raises(MisfitError, match=f"part-00000.jsonl.gz, {what}"):
        rewritten([part], shape({"a": STRING}), tmp_path)


def test_unknown_properties_are_found_beside_explicit_nulls(tmp_path: Path) -> None:
    rows = rows_of([{"a": None, "b": "x"}, {"a": "y", "unknown": None}])
    part = write_jsonl(tmp_path / "part-00000.jsonl.gz", rows)
    with pytest.raises(MisfitError, match=r"row 2: value\.unknown is not in"):
        rewritten([part], shape({"a": STRING, "b": STRING}), tmp_path)


def test_explicit_nulls_and_empty_objects_are_no_misfit(tmp_path: Path) -> None:
    table = shape({"a": STRING, "o": object_of(m=STRING)})
    rows = rows_of([{"a": None, "o": {}}, {"a": "y", "o": None}, {"o": {"m": None}}])
    written = rewritten([write_jsonl(tmp_path / "p.jsonl.gz", rows)], table, tmp_path)
    assert column_of(written, "a") == [None, "y", None]
    assert column_of(written, "o") == [None, None, None]


def test_the_text_of_an_error_does_not_repeat_the_value(tmp_path: Path) -> None:
    rows = rows_of([{"a": "secret of a student"}])
    part = write_jsonl(tmp_path / "part-00000.jsonl.gz", rows)
    with pytest.raises(MisfitError) as caught:
        rewritten([part], shape({"a": INT64}), tmp_path)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_required_value_may_not_be_null(tmp_path: Path) -> None:
    table = shape({"a": STRING}, required=["a"])
    lines = write_jsonl(tmp_path / "part-00000.jsonl.gz", rows_of([{"a": "x"}, {}]))
    with pytest.raises(MisfitError, match=r"row 2: value\.a is required"):
        rewritten([lines], table, tmp_path)
    values: list[dict[str, Any]] = [{"a": "x"}, {"a": None}]
    columns = write_parquet(tmp_path / "part-00000.parquet", {"a": pa.string()}, values)
    with pytest.raises(MisfitError, match=r"row 2: value\.a is required"):
        rewritten([columns], table, tmp_path)


def test_a_parquet_part_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    types = {"a": pa.string(), "b": pa.string()}
    whole = write_parquet(tmp_path / "part-00000.parquet", types, [{"a": "x", "b": "x"}])
    part = write_parquet(tmp_path / "part-00001.parquet", {"b": pa.string()}, [{"b": "x"}])
    table = shape({"a": STRING, "b": STRING})
    with pytest.raises(MisfitError, match=r"part-00001.parquet: value\.a is not there"):
        rewritten([whole, part], table, tmp_path)
    strict = shape({"a": STRING, "b": STRING}, required=["a"])
    with pytest.raises(MisfitError, match=r"part-00001.parquet: value\.a is required"):
        rewritten([whole, part], strict, tmp_path)


def test_a_parquet_part_that_lacks_a_dotted_column_is_refused(tmp_path: Path) -> None:
    columns = {"key.id": [1], "value.settings.color": ["red"], "meta.ts": [TS]}
    part = tmp_path / "part-00000.parquet"
    pq.write_table(pa.table(columns), part)
    table = shape({"settings": object_of(color=STRING, size=INT32)})
    with pytest.raises(MisfitError, match=r"part-00000.parquet: value\.settings lacks .* size"):
        rewritten([part], table, tmp_path)
    table = shape({"settings": object_of(color=STRING), "other.name": STRING})
    with pytest.raises(MisfitError, match=r"part-00000.parquet: value\.other\.name is not there"):
        rewritten([part], table, tmp_path)


def test_a_parquet_object_that_lacks_a_member_is_refused(tmp_path: Path) -> None:
    inner = pa.struct([("a", pa.string())])
    part = write_parquet(tmp_path / "part-00000.parquet", {"o": inner}, [{"o": None}])
    with pytest.raises(MisfitError, match=r"part-00000.parquet: value\.o lacks the member b"):
        rewritten([part], shape({"o": object_of(a=STRING, b=DATE)}), tmp_path)


def test_a_parquet_part_of_an_increment_may_not_lack_some_values(tmp_path: Path) -> None:
    columns = {
        "key": pa.array([{"id": 1}]),
        "value": pa.array([{"b": "x"}]),
        "meta": pa.array([{"ts": TS, "action": "U"}]),
    }
    part = tmp_path / "part-00000.parquet"
    pq.write_table(pa.table(columns), part)
    table = shape({"a": STRING, "b": STRING})
    with pytest.raises(MisfitError, match=r"part-00000.parquet: value\.a is not there"):
        rewritten([part], table, tmp_path, LoadKind.INCREMENTAL)


def test_a_parquet_part_of_deletions_only_may_lack_all_values(tmp_path: Path) -> None:
    columns = {
        "key": pa.array([{"id": 1}]),
        "meta": pa.array([{"ts": TS, "action": "D"}]),
    }
    part = tmp_path / "part-00000.parquet"
    pq.write_table(pa.table(columns), part)
    written = rewritten([part], shape({"a": STRING}), tmp_path, LoadKind.INCREMENTAL)
    assert column_of(written, "a") == [None]
    assert column_of(written, "meta_action") == ["D"]
    columns["meta"] = pa.array([{"ts": TS}])
    pq.write_table(pa.table(columns), part)
    with pytest.raises(MisfitError, match=r"part-00000.parquet: value\.a is not there"):
        rewritten([part], shape({"a": STRING}), tmp_path)


@pytest.mark.parametrize("key", ["identity", "Id"])
def test_a_parquet_part_without_the_key_is_refused(tmp_path: Path, key: str) -> None:
    part = tmp_path / "part-00000.parquet"
    keys = pa.array([{key: 1}])
    meta = pa.array([{"ts": datetime(2024, 1, 1, tzinfo=UTC)}])
    pq.write_table(pa.table({"key": keys, "meta": meta}), part)
    with pytest.raises(MisfitError, match=r"key\.id is required and not there"):
        rewritten([part], shape({"a": STRING}), tmp_path)


def test_a_column_that_the_schema_lacks_is_refused(tmp_path: Path) -> None:
    types = {"a": pa.string(), "new": pa.string()}
    part = write_parquet(tmp_path / "part-00000.parquet", types, [{"a": "x", "new": None}])
    with pytest.raises(MisfitError, match=r"part-00000.parquet: value\.new is not in"):
        rewritten([part], shape({"a": STRING}), tmp_path)
    inner = pa.struct([("m", pa.string()), ("new", pa.string())])
    part = write_parquet(tmp_path / "part-00001.parquet", {"o": inner}, [{"o": None}])
    with pytest.raises(MisfitError, match=r"value\.o has the unknown member new"):
        rewritten([part], shape({"o": object_of(m=STRING)}), tmp_path)


def test_a_snapshot_may_not_tell_of_deletions(tmp_path: Path) -> None:
    row = {"key": {"id": 1}, "value": {}, "meta": {"ts": TS, "action": "U"}}
    part = write_jsonl(tmp_path / "part-00000.jsonl.gz", [row])
    with pytest.raises(MisfitError, match=r"meta\.action is not in"):
        rewritten([part], shape({"a": STRING}), tmp_path)


def test_an_increment_keeps_its_actions_and_needs_no_value_for_a_deletion(tmp_path: Path) -> None:
    table = shape({"a": STRING}, required=["a"])
    rows = [
        {"key": {"id": 1}, "value": {"a": "x"}, "meta": {"ts": TS, "action": "U"}},
        {"key": {"id": 2}, "meta": {"ts": TS, "action": "D"}},
    ]
    part = write_jsonl(tmp_path / "part-00000.jsonl.gz", rows)
    written = rewritten([part], table, tmp_path, LoadKind.INCREMENTAL)
    assert column_of(written, "meta_action") == ["U", "D"]
    assert column_of(written, "a") == ["x", None]
    lacking = {"key": {"id": 3}, "value": {}, "meta": {"ts": TS, "action": "U"}}
    part = write_jsonl(tmp_path / "part-00001.jsonl.gz", [rows[1], lacking])
    with pytest.raises(MisfitError, match=r"row 2: value\.a is required"):
        rewritten([part], table, tmp_path, LoadKind.INCREMENTAL)


def test_a_line_that_is_too_long_for_duckdb_says_so(tmp_path: Path) -> None:
    part = write_jsonl(tmp_path / "p.jsonl.gz", rows_of([{"a": "x"}, {"a": "x" * (33 << 20)}]))
    with pytest.raises(MisfitError, match=r"row 2: the line is longer than"):
        rewritten([part], shape({"a": STRING}), tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("part-00000.parquet", b"nonsense"),
        ("part-00000.parquet", b""),
        ("part-00000.jsonl.gz", b"nonsense"),
        ("part-00000.jsonl.gz", b""),
        ("part-00000.jsonl.gz", gzip.compress(b'{"key":{"id":1}}\n' * 1000, mtime=0)[:-20]),
    ],
    ids=["no parquet", "empty parquet", "no gzip", "empty gzip", "cut gzip"],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    part = tmp_path / name
    part.write_bytes(content)
    with pytest.raises(MisfitError, match=name):
        rewritten([part], shape({"a": STRING}), tmp_path)


def test_damaged_pages_are_refused(tmp_path: Path) -> None:
    values = [{"a": f"text {number}" * 5} for number in range(2000)]
    part = write_parquet(tmp_path / "part-00000.parquet", {"a": pa.string()}, values)
    damaged = bytearray(part.read_bytes())
    damaged[200:3000] = b"\xff" * 2800
    part.write_bytes(damaged)
    with pytest.raises(MisfitError, match=r"part-00000\.parquet"):
        rewritten([part], shape({"a": STRING}), tmp_path)


def test_free_form_json_takes_every_value(tmp_path: Path) -> None:
    values = ['{"b":[1,2]}', "[]", "5", "true", '"a \\"text\\""', "null"]
    rows = rows_of([{"j": Raw(value)} for value in values])
    written = rewritten([write_jsonl(tmp_path / "p.jsonl.gz", rows)], shape({"j": JSON}), tmp_path)
    assert column_of(written, "j") == ['{"b":[1,2]}', "[]", "5", "true", 'a "text"', None]


def test_a_line_without_end_is_not_unpacked_to_its_end(tmp_path: Path) -> None:
    part = tmp_path / "part-00000.jsonl.gz"
    part.write_bytes(gzip.compress(b'{"a": "' + bytes(80 << 20), compresslevel=1))
    (tmp_path / "work").mkdir()
    (text,) = unpack([part], tmp_path / "work", 1).paths
    assert LONGEST_LINE < text.stat().st_size < LONGEST_LINE + (4 << 20)
