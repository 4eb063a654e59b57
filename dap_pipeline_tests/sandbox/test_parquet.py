from __future__ import annotations

import io
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.encode_parquet import ParquetTimestamps
from dap_pipeline.sandbox.serve import RunningSandbox

from . import small_school
from .caller import Caller
from .small_school import COMMITTED_AT, EARLIER, NASTY_TEXT


def parts(caller: Caller, table: str, **query: str) -> list[pq.ParquetFile]:
    job = caller.ended_job(table, format="parquet", **query)
    return [pq.ParquetFile(io.BytesIO(content)) for content in caller.files(job)]


def rows(caller: Caller, table: str, **query: str) -> list[dict[str, Any]]:
    found = [part.read().to_pylist() for part in parts(caller, table, **query)]
    return [row for part in found for row in part]


def test_a_snapshot_has_nested_columns_and_no_action(caller: Caller) -> None:
    (part,) = parts(caller, "everything")
    assert part.schema_arrow.names == ["key", "value", "meta"]
    assert part.schema_arrow.field("meta").type.names == ["ts"]
    assert part.schema_arrow.field("key").type.names == ["id"]


def test_an_increment_has_a_required_action(caller: Caller) -> None:
    (part,) = parts(caller, "everything", since=EARLIER.isoformat())
    meta = part.schema_arrow.field("meta").type
    assert meta.names == ["ts", "action"]
    assert not meta.field("action").nullable
    assert meta.field("ts").nullable


def test_instants_are_int64_microseconds_in_utc(caller: Caller) -> None:
    (part,) = parts(caller, "everything")
    column = next(
        part.schema.column(index)
        for index in range(len(part.schema))
        if part.schema.column(index).path == "value.at"
    )
    assert column.physical_type == "INT64"
    assert part.schema_arrow.field("value").type.field("at").type == pa.timestamp("us", "UTC")


def test_files_are_packed_with_snappy(caller: Caller) -> None:
    (part,) = parts(caller, "everything")
    assert part.metadata.row_group(0).column(0).compression == "SNAPPY"


def test_every_type_reads_back_as_it_was_stored(caller: Caller) -> None:
    first, second, third = rows(caller, "everything")
    assert first["key"] == {"id": 1}
    value = first["value"]
    assert value["single"] == pa.scalar(0.1, pa.float32()).as_py()
    expected = {
        "small": -32768,
        "medium": 2147483647,
        "big": 9223372036854775807,
        "status": 404,
        "double": 1e300,
        "points": Decimal("-999.99"),
        "flag": True,
        "at": datetime(2023, 10, 23, 1, 2, 3, 120000, UTC),
        "day": date(2024, 2, 29),
        "clock": "23:59:59.5Z",
        "length": "P1DT2H",
        "token": "123e4567-e89b-12d3-a456-426614174000",
        "text": NASTY_TEXT,
        "free": '{"a": [1, null],\n "b\\n": "x"}',
        "words": ["", None, "a,b"],
        "steps": [{"at": datetime(2021, 2, 3, 4, 5, 6, tzinfo=UTC), "name": None}, None],
        "nested": {
            "plain": 'multi-\nline "x"\\',
            "number": None,
            "deep": {"seen_at": datetime(2020, 1, 1, tzinfo=UTC), "ratio": 2.5},
        },
    }
    assert {name: value[name] for name in expected} == expected
    assert (second["value"]["words"], second["value"]["nested"]) == ([], None)
    assert math.isnan(third["value"]["double"])
    assert third["value"]["any_number"] == math.inf
    assert first["meta"] == {"ts": COMMITTED_AT}


def test_a_deleted_row_has_a_null_value(caller: Caller) -> None:
    deleted = rows(caller, "everything", since=EARLIER.isoformat())[-1]
    assert deleted == {
        "key": {"id": 4},
        "value": None,
        "meta": {"ts": COMMITTED_AT, "action": "D"},
    }


def test_rows_are_cut_into_parts_in_order_of_the_key(caller: Caller) -> None:
    found = parts(caller, "users")
    assert [part.metadata.num_rows for part in found] == [25, 25, 10]
    keys = [row["key"]["id"] for row in rows(caller, "users")]
    assert keys == list(range(1, small_school.USERS + 1))


def test_a_year_beyond_9999_is_kept(sandbox: RunningSandbox) -> None:
    with sandbox.service.store.transaction() as cursor:
        year = "12345-01-02 03:04:05"
        cursor.execute(f"""UPDATE canvas.everything SET "at" = '{year}' WHERE id = 1""")
    (part,) = parts(Caller(sandbox), "everything")
    first = part.read().cast(_with_numbers(part.schema_arrow)).to_pylist()[0]
    # The calendar repeats every 400 years, which are 146097 days.
    familiar = datetime(2345, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert first["value"]["at"] == (familiar + 25 * 146_097 * 86_400) * 1_000_000


def _with_numbers(schema: pa.Schema) -> pa.Schema:
    value = [
        pa.field(each.name, pa.int64() if each.name == "at" else each.type)
        for each in schema.field("value").type
    ]
    return schema.set(schema.get_field_index("value"), pa.field("value", pa.struct(value)))


def test_instants_can_be_int96_as_older_sparks_write_them(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path, parquet_timestamps=ParquetTimestamps.INT96)
    with small_school.running(config) as sandbox:
        (part,) = parts(Caller(sandbox), "users")
    assert part.schema.column(2).physical_type == "INT96"
    assert part.read().to_pylist()[0]["value"]["created_at"].replace(tzinfo=None) == datetime(
        2026, 1, 2
    )


def test_damage_inside_a_page_is_seen(caller: Caller) -> None:
    (first, *_) = caller.files(caller.ended_job("users", format="parquet"))
    start = pq.ParquetFile(io.BytesIO(first)).metadata.row_group(0).column(1).data_page_offset
    place = start + 60
    damaged = first[:place] + bytes([first[place] ^ 1]) + first[place + 1 :]
    assert pq.read_table(io.BytesIO(first), page_checksum_verification=True).num_rows == 25
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(io.BytesIO(damaged), page_checksum_verification=True)
