"""DuckDB as the lake uses it: in memory, bounded, and alone with the files it is given."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
from pydantic import SecretStr

from dap_pipeline.errors import LakeError, StorageError
from dap_pipeline.lake.folders import make_private, refused_by_storage, storage_errors
from dap_pipeline.lake.hashing import set_key

# A twentieth larger than at DuckDB's own level 3, and written in nine tenths of its time.
PACKED = "COMPRESSION zstd, COMPRESSION_LEVEL 1"
# How much of the memory that it takes in a merge DuckDB counts; see docs/speed.md.
_COUNTED = 0.6


@dataclass(frozen=True)
class RewriteOptions:
    """What one rewrite may use."""

    memory: str
    """As DuckDB writes it, such as ``400MB``."""
    threads: int
    temp_dir: Path
    """Where DuckDB spills to when the memory is used up."""
    mask_key: SecretStr = field(default_factory=lambda: SecretStr(""))
    """The key of hashed columns; empty where there are none."""

    def for_merging(self) -> RewriteOptions:
        """Give DuckDB less: where it joins, it takes half as much again as it counts."""
        unit = self.memory.lstrip("0123456789.")
        number = self.memory.removesuffix(unit)
        return replace(self, memory=f"{float(number) * _COUNTED:g}{unit}")


@contextlib.contextmanager
def connect(options: RewriteOptions) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a database in memory that spills to ``temp_dir`` and loads no extension."""
    with storage_errors(f"write into {options.temp_dir}"):
        make_private(options.temp_dir)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": options.memory,
        "threads": options.threads,
        "temp_directory": str(options.temp_dir),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # The rows of a table have no order; keeping one costs memory and time.
        "preserve_insertion_order": False,
    }
    try:
        with duckdb.connect(":memory:", config=config) as connection:
            _settle(connection)
            if options.mask_key:
                set_key(connection, options.mask_key)
            yield connection
    finally:
        with contextlib.suppress(OSError):
            options.temp_dir.rmdir()


def beside(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Open a further connection to the same database, for a thread that works at the same time.

    It has neither temporary tables nor the key of hashed columns.
    """
    another = connection.cursor()
    _settle(another)
    return another


def _settle(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("SET TimeZone = 'UTC'")
    # DuckDB 2 draws one into the output of a query that takes longer than two seconds.
    connection.execute("SET enable_progress_bar = false")


def fetch(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Run a query and take all its rows."""
    return connection.execute(query).fetchall()


def not_of_the_data(error: duckdb.Error, doing: str) -> LakeError | None:
    """Explain an error that the data has no part in: disk, memory; None for others."""
    reason = refused_by_storage(str(error))
    if reason is not None:
        return StorageError(f"could not {doing}: {reason}")
    if isinstance(error, duckdb.OutOfMemoryException):
        return LakeError(
            f"could not {doing}: the memory is used up",
            advice="Raise DAP_PIPELINE_DUCKDB_MEMORY, or lower DAP_PIPELINE_DUCKDB_THREADS.",
        )
    return None
