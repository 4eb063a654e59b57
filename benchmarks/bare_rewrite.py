"""What DuckDB alone takes for the same files.

The fastest plain way that was found: its own types, its own compression, no order of rows.
``python -m benchmarks.bare_rewrite <target> <part> …``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import duckdb

from dap_pipeline.lake.sql import literal, literals


def main(target: str, parts: Sequence[str]) -> None:
    """Write the parts as one Parquet file."""
    read = "read_parquet" if parts[0].endswith(".parquet") else "read_json"
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute("SET preserve_insertion_order = false")
        query = f"COPY (FROM {read}({literals(list(parts))})) TO {literal(target)} (FORMAT parquet)"
        connection.execute(query).fetchall()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
