"""Runs the SELECT of a job and cuts its rows into part files, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa

from .encode_parquet import ParquetEncoding, ParquetTimestamps
from .encode_text import CsvEncoding, JsonLinesEncoding, TsvEncoding
from .queries import Format, Query
from .selections import Selection

# Rows held in memory at a time by one job.
_BATCH_ROWS = 16_384


class Part(Protocol):
    """A part file that is being written."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows of a batch."""

    def close(self) -> None:
        """Finish the file."""


class Encoding(Protocol):
    """A format, ready for one selection."""

    suffix: str
    media_type: str

    def query(self) -> str:
        """Write the SELECT whose batches the parts take."""

    def open_part(self, path: Path, schema: pa.Schema) -> Part:
        """Start a part file."""


def encoding(query: Query, selection: Selection, timestamps: ParquetTimestamps) -> Encoding:
    """Choose the encoding of a query."""
    match query.format:
        case Format.TSV:
            return TsvEncoding(selection, query.mode)
        case Format.CSV:
            return CsvEncoding(selection, query.mode)
        case Format.JSONL:
            return JsonLinesEncoding(selection)
        case Format.PARQUET:
            return ParquetEncoding(selection, timestamps)


def write_parts(
    cursor: duckdb.DuckDBPyConnection,
    encoding: Encoding,
    folder: Path,
    label: str,
    rows_per_part: int,
    empty_part: bool,
) -> list[str]:
    """Write the part files of a job into a folder and name them in order.

    No rows give no file, or one without rows if `empty_part` is set. `label` makes names unique.
    """
    batch_rows = min(rows_per_part, _BATCH_ROWS)
    reader = cursor.sql(encoding.query()).to_arrow_reader(batch_rows)
    names: list[str] = []
    part: Part | None = None
    try:
        for number, batch in _cut(reader, rows_per_part, empty_part):
            if number == len(names):
                if part is not None:
                    part.close()
                names.append(f"part-{number:05d}-{label}-c000{encoding.suffix}")
                part = encoding.open_part(folder / names[-1], reader.schema)
            if part is not None:
                part.write(batch)
    finally:
        if part is not None:
            part.close()
        reader.close()
    for name in names:
        (folder / name).chmod(0o600)
    return names


def _cut(
    reader: pa.RecordBatchReader, rows_per_part: int, empty_part: bool
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Number the slices of the batches by the part that they belong to."""
    written = 0
    for batch in reader:
        taken = 0
        while taken < batch.num_rows:
            number, filled = divmod(written, rows_per_part)
            size = min(rows_per_part - filled, batch.num_rows - taken)
            yield number, batch.slice(taken, size)
            taken += size
            written += size
    if written == 0 and empty_part:
        yield 0, pa.RecordBatch.from_pylist([], schema=reader.schema)
