"""Reads TSV files with the official client's own parser; runs in that client's environment.

Arguments: the answer of `/schema` as a file, then condensed TSV files of a snapshot.
Prints one JSON object per record; what JSON has no word for is printed as text.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiofiles  # type: ignore[import-untyped]  # not in our environment
from dap.replicator import canvas  # type: ignore[import-not-found]  # not in our environment
from dap.replicator.sql_op import create_table_dataclass  # type: ignore[import-not-found]  # same
from dap.replicator.sql_op_init import SqlOpInit  # type: ignore[import-not-found]  # same
from pysqlsync.data.exchange import AsyncTextReader  # type: ignore[import-not-found]  # same


async def print_records(schema_file: str, data_files: list[str]) -> None:
    schema = json.loads(Path(schema_file).read_text())["schema"]
    entity = create_table_dataclass("everything", canvas, schema)
    labels = SqlOpInit._get_init_tabular_mapping(entity).labels_to_types
    for data_file in data_files:
        async with aiofiles.open(data_file, "rb") as file:
            reader = AsyncTextReader(file, labels)
            await reader.read_header()
            async for record in reader.records():
                print(json.dumps(dict(zip(reader.columns, record, strict=True)), default=str))


if __name__ == "__main__":
    asyncio.run(print_records(sys.argv[1], sys.argv[2:]))
