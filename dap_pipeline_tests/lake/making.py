"""Makes schemas and parts for the tests of the lake, and reads back what was written."""

from __future__ import annotations

import gzip
import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dap_pipeline.dap.models import VersionedSchema
from dap_pipeline.lake.columns import TableShape, shape_of
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.rewrite import RewriteOptions, WrittenFile, rewrite
from dap_pipeline.settings import SourceFormat

INT64 = {"type": "integer", "format": "int64"}
INT32 = {"type": "integer", "format": "int32"}
INT16 = {"type": "integer", "format": "int16"}
DOUBLE = {"type": "number", "format": "float64"}
FLOAT = {"type": "number", "format": "float32"}
STRING = {"type": "string"}
BOOLEAN = {"type": "boolean"}
INSTANT = {"type": "string", "format": "date-time"}
DATE = {"type": "string", "format": "date"}
JSON: dict[str, Any] = {"type": "object"}
TS = "2024-01-02T03:04:05Z"


def decimal(whole: int, scale: int) -> dict[str, Any]:
    """Describe a number of so many digits before and after the point."""
    bound = 10**whole - 1
    step = float(f"1e-{scale}")
    return {"type": "number", "multipleOf": step, "minimum": -bound, "maximum": bound}


def object_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def list_of(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def schema_of(
    value: Mapping[str, Any],
    key: Mapping[str, Any] | None = None,
    *,
    required: Sequence[str] = (),
    version: int = 1,
    **more: Any,
) -> VersionedSchema:
    """Make the schema of a table whose key is `id` unless told otherwise."""
    properties = {
        "meta": object_of(ts=INSTANT, action={"type": "string", "enum": ["U", "D"]}),
        "key": object_of(**(key or {"id": INT64})),
        "value": {**object_of(**value), "required": list(required), **more},
    }
    json_schema = {"type": "object", "properties": properties, "required": ["key"]}
    return VersionedSchema(schema=json_schema, version=version)


def shape(
    value: Mapping[str, Any], key: Mapping[str, Any] | None = None, **more: Any
) -> TableShape:
    return shape_of(schema_of(value, key, **more))


@dataclass(frozen=True)
class Raw:
    """JSON text that is written as it is."""

    text: str


def as_json(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        members = (f"{json.dumps(name)}:{as_json(member)}" for name, member in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(as_json, value)) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False)


def write_lines(path: Path, lines: Iterable[str | bytes]) -> Path:
    """Write a gzip JSONL part from texts."""
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.writelines(line + b"\n" for line in raw)
    return path


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write a gzip JSONL part from rows with `key`, `value` and `meta`."""
    return write_lines(path, (as_json(dict(row)) for row in rows))


def rows_of(values: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Number values from 1 and give them a key and a `meta.ts`."""
    return [
        {"key": {"id": number}, "value": dict(value), "meta": {"ts": TS}}
        for number, value in enumerate(values, start=1)
    ]


def write_parquet(
    path: Path, types: Mapping[str, pa.DataType], values: Sequence[Mapping[str, Any]]
) -> Path:
    """Write a Parquet part as Spark does, with values of the given types."""
    count = len(values)
    sections = {
        "key": pa.array([{"id": n} for n in range(1, count + 1)], pa.struct([("id", pa.int64())])),
        "value": pa.array([dict(value) for value in values], pa.struct(list(types.items()))),
        "meta": pa.array(
            [{"ts": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)}] * count,
            pa.struct([("ts", pa.timestamp("us", tz="UTC"))]),
        ),
    }
    pq.write_table(pa.table(sections), path, row_group_size=5_000)
    return path


def rewritten(
    parts: Sequence[Path],
    table: TableShape,
    folder: Path,
    kind: LoadKind = LoadKind.SNAPSHOT,
    **options: Any,
) -> WrittenFile:
    """Rewrite parts of the format that their names tell."""
    is_parquet = not parts or parts[0].suffix == ".parquet"
    return rewrite(
        parts,
        table,
        source=SourceFormat.PARQUET if is_parquet else SourceFormat.JSONL,
        kind=kind,
        target=folder / "tidy.parquet",
        options=RewriteOptions(
            memory=options.get("memory", "400MB"), threads=2, temp_dir=folder / "spill"
        ),
    )


def column_of(written: WrittenFile, name: str) -> list[Any]:
    """Read a column in the order of the key `id`; instants and dates as numbers."""
    table = pq.read_table(written.path)
    ordered = table.take(pc.sort_indices(table["id"])) if table.num_rows else table
    return [comparable(value) for value in _plain(ordered[name]).to_pylist()]


def _plain(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.int64())
    return column.cast(pa.int32()) if pa.types.is_date(kind) else column


def comparable(value: Any) -> Any:
    """Make values comparable that Python holds for equal or unequal against their bits."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else ("float", struct.pack("<d", value))
    if isinstance(value, dict):
        return {name: comparable(member) for name, member in value.items()}
    return [comparable(item) for item in value] if isinstance(value, list) else value
