"""Part files with made-up rows, as DAP's formats lay them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

# One row: numbers, instants, a word of few, an address and a text, as in Canvas' own tables.
_ROWS = """
SELECT
    {'id': (900000000000 + i)::BIGINT} AS key,
    {
        'user_id': (hash(i) % 50000)::BIGINT,
        'assignment_id': (hash(i + 1) % 9000)::BIGINT,
        'score': CASE WHEN i % 5 = 0 THEN NULL ELSE (hash(i + 2) % 1000) / 10.0 END,
        'workflow_state': ['submitted', 'graded', 'unsubmitted'][1 + (hash(i) % 3)::BIGINT],
        'submitted_at':
            TIMESTAMP '2026-01-01' + to_microseconds((hash(i) % 20000000000000)::BIGINT),
        'url': 'https://school.example/courses/' || hash(i) % 4000 || '/' || uuid(),
        'body': CASE WHEN i % 3 > 0 THEN repeat('word ' || hash(i + 3) % 700 || ' ', 9) END
    } AS value,
    {'ts': TIMESTAMP '2026-11-20 08:00:00'} AS meta
FROM range({first}, {last}) AS rows(i)
"""
_FORMS = {
    ".parquet": "FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 100000",
    ".jsonl.gz": "FORMAT json, COMPRESSION gzip",
}


# The rows of `benchmarks.service.PLAIN_SCHEMA`.
_PLAIN_ROWS = """
SELECT {'id': i} AS key, {'text': 'row ' || i} AS value,
    {'ts': TIMESTAMP '2026-11-20 08:00:00'} AS meta
FROM range(100) AS rows(i)
"""


def plain_file(folder: Path) -> str:
    """Write a small Parquet file of a table that has the plain schema."""
    folder.mkdir()
    file = folder / "part-00000.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({_PLAIN_ROWS}) TO {quoted_text(str(file))} (FORMAT parquet)")
    return str(file)


def part_files(folder: Path, suffix: str, rows: list[int], count: int) -> tuple[str, ...]:
    """Write one part file for each number of rows, and name `count` links that repeat them.

    Whoever reads the links decodes each of them: what is linked is read as often as it is named.
    """
    folder.mkdir()
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        made = [_write(connection, folder, suffix, size) for size in rows]
    links = [folder / f"part-{number:05d}{suffix}" for number in range(count)]
    for number, link in enumerate(links):
        link.symlink_to(made[number % len(made)])
    return tuple(str(link) for link in links)


def _write(connection: duckdb.DuckDBPyConnection, folder: Path, suffix: str, rows: int) -> Path:
    file = folder / f"rows-{rows}{suffix}"
    source = _ROWS.replace("{first}", "0").replace("{last}", str(rows))
    connection.execute(f"COPY ({source}) TO {quoted_text(str(file))} ({_FORMS[suffix]})")
    return file


def with_checksums(files: Sequence[str]) -> tuple[str, ...]:
    """Write the file that all links name anew: each page with its checksum, as Spark does."""
    plain = Path(files[0]).resolve()
    checked = plain.with_name(f"checked-{plain.name}")
    with (
        pq.ParquetFile(plain) as source,
        pq.ParquetWriter(
            checked, source.schema_arrow, compression="snappy", write_page_checksum=True
        ) as target,
    ):
        for number in range(source.num_row_groups):
            target.write_table(source.read_row_group(number))
    plain.unlink()
    checked.rename(plain)
    return tuple(files)


def quoted_text(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"
