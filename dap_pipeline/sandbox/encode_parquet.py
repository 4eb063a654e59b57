"""Parquet as Spark lays it out: nested columns `key`, `value` and `meta`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .dialect import Field, Kind
from .expressions import column, plain
from .selections import Selection


class ParquetTimestamps(enum.Enum):
    """How instants lie in the files; DAP does not say, so both forms of Spark are offered."""

    MICROS = "micros"
    INT96 = "int96"


class ParquetEncoding:
    """The Parquet files of one selection.

    A guess of ours, as DAP documents none of it: Snappy, instants as INT64 microseconds in UTC, a
    NULL `value` for a deleted row. Seen in real files: the nesting, and `meta.action` required.
    """

    suffix = ".snappy.parquet"
    media_type = "application/parquet"

    def __init__(self, selection: Selection, timestamps: ParquetTimestamps) -> None:
        self._selection = selection
        self._fields = selection.table.fields
        self._timestamps = timestamps

    def query(self) -> str:
        """Write the SELECT of the flat columns."""
        columns = [_readable_by_spark(field) for field in self._fields.all]
        return self._selection.sql([*columns, "meta_ts", "meta_action"])

    def open_part(self, path: Path, schema: pa.Schema) -> ParquetPart:
        """Start a part file for batches of the given flat schema."""
        keys = len(self._fields.key)
        return ParquetPart(path, schema, keys, self._selection.incremental, self._timestamps)


class ParquetPart:
    """A part being written; each batch becomes one row group."""

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        keys: int,
        incremental: bool,
        timestamps: ParquetTimestamps,
    ) -> None:
        flat = [pa.field(each.name, _in_utc(each.type)) for each in schema]
        self._key = flat[:keys]
        self._value = flat[keys:-2]
        self._meta: list[pa.Field[Any]] = [pa.field("ts", pa.timestamp("us", "UTC"))]
        if incremental:
            self._meta.append(pa.field("action", pa.string(), nullable=False))
        self._writer = pq.ParquetWriter(
            path,
            self._schema(),
            compression="snappy",
            use_deprecated_int96_timestamps=timestamps is ParquetTimestamps.INT96,
            store_decimal_as_integer=True,
            write_page_index=False,
            write_page_checksum=True,
        )

    def _schema(self) -> pa.Schema:
        members = [pa.field("key", pa.struct(self._key))]
        if self._value:
            members.append(pa.field("value", pa.struct(self._value)))
        members.append(pa.field("meta", pa.struct(self._meta)))
        return pa.schema(members)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows of a batch of flat columns."""
        columns = [
            array.cast(_in_utc(array.type)) if _holds_instants(array.type) else array
            for array in batch.columns
        ]
        keys = len(self._key)
        members = [pa.StructArray.from_arrays(columns[:keys], fields=self._key)]
        if self._value:
            deleted = pc.equal(columns[-1], pa.scalar("D"))
            members.append(
                pa.StructArray.from_arrays(columns[keys:-2], fields=self._value, mask=deleted)
            )
        meta = columns[-2:][: len(self._meta)]
        members.append(pa.StructArray.from_arrays(meta, fields=self._meta))
        self._writer.write_batch(pa.RecordBatch.from_arrays(members, schema=self._schema()))

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def _readable_by_spark(field: Field) -> str:
    # Spark has no type for a time of day, so such a field can only be a text.
    if field.type.kind is Kind.TIME:
        return f"{plain(column(field), field.type)} AS {column(field)}"
    return column(field)


def _holds_instants(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_nested(kind)


def _in_utc(kind: pa.DataType) -> pa.DataType:
    """Mark every instant in a type as UTC: that is how the store's wall times are meant."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC")
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(each.name, _in_utc(each.type)) for each in kind])
    if pa.types.is_list(kind):
        # Spark names the items of a list "element".
        return pa.list_(pa.field("element", _in_utc(kind.value_type)))
    return kind
