"""Parts in every form that DAP may give them become tidy Parquet."""

from __future__ import annotations

import gzip
import os
import uuid
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dap_pipeline.errors import LakeError, StorageError
from dap_pipeline.lake.duck import not_of_the_data
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
    column_of,
    comparable,
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

_NOON = 1_700_000_000_000_000


def _text(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("field", "type_", "value", "expected"),
    [
        (INSTANT, pa.timestamp("s"), _NOON // 10**6, _NOON),
        (INSTANT, pa.timestamp("ms"), _NOON // 1000, _NOON),
        (INSTANT, pa.timestamp("ms", tz="UTC"), _NOON // 1000, _NOON),
        (INSTANT, pa.timestamp("us"), _NOON, _NOON),
        (INSTANT, pa.timestamp("us", tz="UTC"), _NOON, _NOON),
        (INSTANT, pa.timestamp("ns"), _NOON * 1000, _NOON),
        (INSTANT, pa.timestamp("ns", tz="UTC"), _NOON * 1000, _NOON),
        (INSTANT, pa.string(), _text(_NOON), _NOON),
        (INSTANT, pa.string(), "2023-11-14 22:13:20", _NOON),
        (INSTANT, pa.string(), "2023-11-14T23:13:20+01:00", _NOON),
        (INSTANT, pa.large_string(), _text(_NOON + 1), _NOON + 1),
        (INT16, pa.int8(), 5, 5),
        (INT64, pa.int32(), -5, -5),
        (INT64, pa.uint64(), 5, 5),
        (INT64, pa.string(), "-9223372036854775808", -(1 << 63)),
        (INT64, pa.float64(), 5.0, 5),
        (INT64, pa.decimal128(20, 0), Decimal(7), 7),
        (DOUBLE, pa.float32(), 0.5, comparable(0.5)),
        (DOUBLE, pa.int64(), 7, comparable(7.0)),
        (FLOAT, pa.float64(), 0.5, comparable(0.5)),
        (decimal(3, 2), pa.decimal128(38, 18), Decimal("1.25"), Decimal("1.25")),
        (decimal(3, 2), pa.float64(), 1.25, Decimal("1.25")),
        (decimal(3, 2), pa.int32(), 12, Decimal("12.00")),
        (decimal(3, 2), pa.string(), "1.250", Decimal("1.25")),
        (BOOLEAN, pa.string(), "true", True),
        (DATE, pa.string(), "1970-01-02", 1),
        (STRING, pa.binary(), b"caf\xc3\xa9", "café"),
        (STRING, pa.dictionary(pa.int32(), pa.string()), "x", "x"),
        (STRING, pa.int64(), 5, "5"),
        ({"type": "string", "format": "time"}, pa.time64("us"), time(1, 2, 3), "01:02:03"),
        (JSON, pa.string(), '{"a": [1,  2]}', '{"a": [1,  2]}'),
        (JSON, pa.struct([("a", pa.int64())]), {"a": 1}, '{"a":1}'),
        (JSON, pa.map_(pa.string(), pa.int64()), [("a", 1)], '{"a":1}'),
        (list_of(INT64), pa.string(), "[1, null]", [1, None]),
        (list_of(INT64), pa.list_(pa.int32()), [1, None], [1, None]),
        (list_of(INT64), pa.list_(pa.int32()), [], []),
        (object_of(a=INT64, b=STRING), pa.string(), '{"a": 1, "b": null}', {"a": 1, "b": None}),
        (object_of(a=INT64), pa.string(), "{}", None),
        (object_of(a=INT64), pa.struct([("a", pa.int64())]), {"a": None}, None),
    ],
)  # fmt: skip
def test_parquet_types_are_cast_to_the_schema(
    tmp_path: Path, field: dict[str, Any], type_: pa.DataType, value: Any, expected: Any
) -> None:
    part = write_parquet(tmp_path / "p.parquet", {"f": type_}, [{"f": value}, {"f": None}])
    assert column_of(rewritten([part], shape({"f": field}), tmp_path), "f") == [expected, None]


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        (INT64, "9223372036854775807", (1 << 63) - 1),
        (INT64, "9007199254740993", 9_007_199_254_740_993),
        (INT64, '"12"', 12),
        (INT64, "12.0", 12),
        (DOUBLE, "NaN", "NaN"),
        (DOUBLE, '"NaN"', "NaN"),
        (DOUBLE, "-Infinity", comparable(float("-inf"))),
        (DOUBLE, '"Infinity"', comparable(float("inf"))),
        (DOUBLE, "-0.0", comparable(-0.0)),
        (DOUBLE, "1e-320", comparable(1e-320)),
        (decimal(3, 2), "1.250", Decimal("1.25")),
        (decimal(3, 2), "1e2", Decimal("100.00")),
        (decimal(20, 6), "12345678901234567890.123456", Decimal("12345678901234567890.123456")),
        (decimal(38, 0), "9" * 38, Decimal("9" * 38)),
        (INSTANT, '"2023-11-14T22:13:20Z"', _NOON),
        (INSTANT, '"2023-11-14T22:13:20.0Z"', _NOON),
        (INSTANT, '"2023-11-14T22:13:20.000001000Z"', _NOON + 1),
        (INSTANT, '"0001-01-01T00:00:00Z"', -62_135_596_800_000_000),
        (INSTANT, '"-0005-01-01T00:00:00Z"', -62_324_985_600_000_000),
        (INSTANT, '"+12345-01-01T00:00:00Z"', 327_403_382_400_000_000),
        (INSTANT, '"9999-12-31T23:59:59.999999Z"', 253_402_300_799_999_999),
        (STRING, r'"\u0000\ud83d\ude00\u202e\n\t\"\\"', '\0😀\u202e\n\t"\\'),
        (STRING, '""', ""),
        (STRING, '"null"', "null"),
        (STRING, "5", "5"),
        (JSON, '{"a": [1, {"b": null}]}', '{"a":[1,{"b":null}]}'),
        (list_of(STRING), '["", null]', ["", None]),
        (list_of(STRING), "[]", []),
        (object_of(a=object_of(b=INT64)), '{"a": {}}', None),
    ],
)
def test_json_values_are_cast_to_the_schema(
    tmp_path: Path, field: dict[str, Any], text: str, expected: Any
) -> None:
    part = write_jsonl(tmp_path / "p.jsonl.gz", rows_of([{"f": Raw(text)}, {}]))
    assert column_of(rewritten([part], shape({"f": field}), tmp_path), "f") == [expected, None]


def test_timestamps_of_96_bits_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "key": pa.array([{"id": 1}]),
            "value": pa.array([{"f": _NOON * 1000}], pa.struct([("f", pa.timestamp("ns"))])),
            "meta": pa.array([{"ts": _NOON * 1000}], pa.struct([("ts", pa.timestamp("ns"))])),
        }
    )
    part = tmp_path / "p.parquet"
    pq.write_table(table, part, use_deprecated_int96_timestamps=True)
    assert "INT96" in str(pq.ParquetFile(part).schema).upper()
    written = rewritten([part], shape({"f": INSTANT}), tmp_path)
    assert column_of(written, "f") == column_of(written, "meta_ts") == [_NOON]


def test_marked_types_are_texts(tmp_path: Path) -> None:
    some = uuid.uuid4()
    columns = {
        "key.id": pa.array([1]),
        "value.u": pa.array([some.bytes], pa.uuid()),
        "value.j": pa.array(['{"a": [1,  2]}'], pa.json_()),
        "meta.ts": pa.array([TS]),
    }
    part = tmp_path / "p.parquet"
    pq.write_table(pa.table(columns), part)
    table = shape({"u": {"type": "string", "format": "uuid"}, "j": JSON})
    written = rewritten([part], table, tmp_path)
    assert column_of(written, "u") == [str(some)]
    assert column_of(written, "j") == ['{"a": [1,  2]}']


def test_columns_with_dotted_names_are_found(tmp_path: Path) -> None:
    columns = {
        "meta.ts": [TS, TS],
        "key.id": [1, 2],
        "value.settings.color": ["red", None],
        "value.settings.size": [1, None],
        "value.a.b": ["x", "y"],
    }
    part = tmp_path / "p.parquet"
    pq.write_table(pa.table(columns), part)
    table = shape({"settings": object_of(color=STRING, size=INT32), "a.b": STRING})
    written = rewritten([part], table, tmp_path)
    assert column_of(written, "settings") == [{"color": "red", "size": 1}, None]
    assert column_of(written, "a.b") == ["x", "y"]


def test_names_that_differ_by_case_only_keep_their_values(tmp_path: Path) -> None:
    table = shape({"Name": STRING, "name": INT64})
    types: dict[str, pa.DataType] = {"Name": pa.string(), "name": pa.int64()}
    columns = write_parquet(tmp_path / "p.parquet", types, [{"Name": "x", "name": 5}])
    lines = write_jsonl(tmp_path / "p.jsonl.gz", rows_of([{"Name": "x", "name": 5}]))
    for part in (columns, lines):
        written = rewritten([part], table, tmp_path)
        assert column_of(written, "Name") == ["x"]
        assert column_of(written, "name_value") == [5]


def test_parts_may_differ_in_types_and_order_of_columns(tmp_path: Path) -> None:
    table = shape({"a": INT64, "b": STRING})
    types: dict[str, pa.DataType] = {"a": pa.int32(), "b": pa.string()}
    first = write_parquet(tmp_path / "1.parquet", types, [{"a": 1, "b": None}])
    second = write_parquet(
        tmp_path / "2.parquet", {"b": pa.string(), "a": pa.string()}, [{"a": "2", "b": "x"}] * 2
    )
    written = rewritten([first, second], table, tmp_path)
    assert written.rows == 3
    assert sorted(column_of(written, "a")) == [1, 2, 2]
    assert sorted(column_of(written, "b"), key=str) == [None, "x", "x"]


def test_no_parts_and_empty_parts_make_an_empty_file_with_its_columns(tmp_path: Path) -> None:
    table = shape({"a": INT64, "o": object_of(m=DATE)})
    lines = write_lines(tmp_path / "p.jsonl.gz", [])
    types = {"a": pa.int64(), "o": pa.struct([("m", pa.date32())])}
    columns = write_parquet(tmp_path / "p.parquet", types, [])
    for parts in ([], [lines], [columns]):
        written = rewritten(parts, table, tmp_path)
        assert (written.rows, written.key_min, written.key_max) == (0, {}, {})
        assert pq.read_schema(written.path).names == ["id", "a", "o", "meta_ts"]


def test_blank_lines_and_several_gzip_members_are_read(tmp_path: Path) -> None:
    line = b'{"key":{"id":%d},"value":{},"meta":{"ts":"2024-01-02T03:04:05Z"}}\n'
    part = tmp_path / "p.jsonl.gz"
    windows = (line % 3).replace(b"\n", b"\r\n")
    part.write_bytes(
        gzip.compress(line % 1 + b"\n \t\n\r\n\n") + gzip.compress(b" " + line % 2 + windows)
    )
    assert column_of(rewritten([part], shape({"a": INT64}), tmp_path), "id") == [1, 2, 3]


def test_the_file_is_for_its_owner_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    part = write_jsonl(tmp_path / "p.jsonl.gz", rows_of([{"a": 1}] * 3))
    before = os.umask(0)
    try:
        written = rewritten([part], shape({"a": INT64}), tmp_path)
    finally:
        os.umask(before)
    assert written.path.stat().st_mode & 0o777 == 0o600
    assert written.bytes == written.path.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl.gz", "tidy.parquet"]


def test_a_file_of_an_earlier_try_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "tidy.parquet").write_bytes(b"x" * 100_000)
    part = write_jsonl(tmp_path / "p.jsonl.gz", rows_of([{"a": 1}]))
    assert column_of(rewritten([part], shape({"a": INT64}), tmp_path), "a") == [1]


def test_folders_with_odd_names_are_no_trouble(tmp_path: Path) -> None:
    folder = tmp_path / "it's é=1 & x"
    folder.mkdir()
    rows = rows_of([{"a": 1}])
    lines = write_jsonl(folder / "part=1.jsonl.gz", rows)
    columns = write_parquet(folder / "part=1.parquet", {"a": pa.int64()}, [{"a": 1}])
    for part in (lines, columns):
        assert column_of(rewritten([part], shape({"a": INT64}), folder), "a") == [1]


def test_the_bounds_of_the_keys_are_told_where_delta_can_use_them(tmp_path: Path) -> None:
    key = {"id": INT64, "code": STRING, "long": STRING, "at": INSTANT}
    rows = [
        {"key": {"id": i, "code": f"c{i}", "long": "x" * 100, "at": TS}, "meta": {"ts": TS}}
        for i in (5, -3, 9)
    ]
    part = write_jsonl(tmp_path / "p.jsonl.gz", rows)
    written = rewritten([part], shape({"a": INT64}, key), tmp_path)
    assert written.key_min == {"id": -3, "code": "c-3"}
    assert written.key_max == {"id": 9, "code": "c9"}


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    part = write_jsonl(tmp_path / "p.jsonl.gz", rows_of([{"a": 1}]))
    (tmp_path / "tidy.parquet").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="the disk is full"):
        rewritten([part], shape({"a": INT64}), tmp_path)
    assert Path("/dev/full").exists()


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    part = write_jsonl(tmp_path / "p.jsonl.gz", rows_of([{"a": 1}]))
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(StorageError, match="could not write"):
        rewritten([part], shape({"a": INT64}), blocked)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (duckdb.IOException("Could not write file: No space left on device"), StorageError),
        (duckdb.OutOfMemoryException("failed to offload data block"), LakeError),
        (duckdb.ConversionException("Could not convert string"), None),
    ],
)
def test_errors_of_the_machine_are_told_from_those_of_the_data(
    error: duckdb.Error, kind: type[LakeError] | None
) -> None:
    found = not_of_the_data(error, "rewrite")
    assert (None if found is None else type(found)) is kind


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["parquet", "jsonl.gz"])
def test_long_texts_do_not_need_more_memory_than_is_allowed(tmp_path: Path, suffix: str) -> None:
    values = [{"a": os.urandom(5_000).hex()} for _ in range(50_000)]
    part = tmp_path / f"p.{suffix}"
    if suffix == "parquet":
        write_parquet(part, {"a": pa.string()}, values)
    else:
        write_jsonl(part, rows_of(values))
    written = rewritten([part], shape({"a": STRING}), tmp_path, memory="400MB")
    assert written.rows == len(values)
    assert written.bytes > 200_000_000
