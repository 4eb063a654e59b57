"""Parquet files whose pages have checksums."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 3_000


def written(folder: Path, **options: Any) -> Path:
    """Write texts, numbers, lists and nulls, in several row groups."""
    table = pa.table(
        {
            "key": [{"id": number} for number in range(ROWS)],
            "value": [
                {"name": f"Name {n % 70}" * 9, "list": [n] * (n % 3), "none": None, "even": n % 2}
                for n in range(ROWS)
            ],
            "long": ["x" * 20_000] + [None] * (ROWS - 1),
        }
    )
    file = folder / "part.parquet"
    settings = {"write_page_checksum": True, "row_group_size": 1_000, **options}
    pq.write_table(table, file, **settings)
    return file


def with_gap(folder: Path) -> Path:
    """Write two row groups, before the second of which there is something that is no page."""
    table = pa.table({"number": range(3_000), "name": [f"Name {n % 7}" for n in range(3_000)]})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, write_page_checksum=True) as writer:
        writer.write_table(table)
        sink.write(bytes(50))
        writer.write_table(table)
    file = folder / "part.parquet"
    file.write_bytes(sink.getvalue().to_pybytes())
    return file


def with_bit(content: bytes, place: int, bit: int = 0) -> bytes:
    """Alter one bit."""
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def told(file: Path, **changes: Any) -> Any:
    """Give what the footer tells of the first chunk, changed, as if there were no other."""
    chunk = pq.read_metadata(file).row_group(0).column(0)
    names = (
        "data_page_offset",
        "dictionary_page_offset",
        "has_dictionary_page",
        "total_compressed_size",
        "total_uncompressed_size",
        "num_values",
        "encodings",
    )
    changed = SimpleNamespace(**{name: getattr(chunk, name) for name in names} | changes)
    group = SimpleNamespace(column=lambda _: changed)
    return SimpleNamespace(num_row_groups=1, num_columns=1, row_group=lambda _: group)
