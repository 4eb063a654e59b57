"""Looks at a Parquet file that was written: whether it can be read and is of its table's shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.coltypes import ColumnType, Kind
from dap_pipeline.lake.columns import TableShape

_SCALARS: dict[str, pa.DataType] = {
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "VARCHAR": pa.string(),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
    "DATE": pa.date32(),
}


@dataclass(frozen=True)
class Footer:
    """What the footer of a file tells."""

    rows: int
    nulls: dict[str, int]
    """Cells without a value, of the columns that are neither structs nor lists."""


def verified_footer(path: Path, shape: TableShape) -> Footer:
    """Read the footer of a file that was written, and compare its columns with the shape.

    Raises:
        LakeError: it cannot be read, or has other columns.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
    except pa.ArrowException as error:
        raise LakeError(f"{path.name} cannot be read after it was written: {error}") from error
    written = [(field.name, without_nullability(field.type)) for field in schema]
    if written != [(column.name, arrow_type(column.type)) for column in shape.columns]:
        raise LakeError(f"{path.name} was written with other columns than the table has")
    return Footer(metadata.num_rows, _nulls(metadata, shape))


def without_nullability(kind: pa.DataType) -> pa.DataType:
    """Forget which members are never null: DuckDB 2 notes it, DuckDB 1 does not."""
    if isinstance(kind, pa.StructType):
        return pa.struct([(field.name, without_nullability(field.type)) for field in kind])
    return pa.list_(without_nullability(kind.value_type)) if isinstance(kind, pa.ListType) else kind


def _nulls(metadata: pq.FileMetaData, shape: TableShape) -> dict[str, int]:
    nulls: dict[str, int] = {}
    leaf = 0
    for column in shape.columns:
        if column.kind not in (Kind.STRUCT, Kind.LIST):
            groups = (metadata.row_group(i).column(leaf) for i in range(metadata.num_row_groups))
            nulls[column.name] = sum(_null_count(group) for group in groups)
        leaf += _leaves(column.type)
    return nulls


def _null_count(group: pq.ColumnChunkMetaData) -> int:
    nulls = None if group.statistics is None else group.statistics.null_count
    if nulls is None:
        raise LakeError("DuckDB wrote a Parquet file without counts of nulls")
    return nulls


def _leaves(kind: ColumnType) -> int:
    if kind.item is not None:
        return _leaves(kind.item)
    return sum(_leaves(member.type) for member in kind.members) or 1


def arrow_type(kind: ColumnType) -> pa.DataType:
    """Give the Arrow type in which a column is read back."""
    if kind.kind is Kind.STRUCT:
        return pa.struct([(member.name, arrow_type(member.type)) for member in kind.members])
    if kind.item is not None:
        return pa.list_(arrow_type(kind.item))
    if kind.kind is Kind.DECIMAL:
        return pa.decimal128(kind.precision, kind.scale)
    return _SCALARS[kind.base]
