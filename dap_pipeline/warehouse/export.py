"""Reads a version of a table on its own: as a query, or into a file."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from dap_pipeline.errors import ConfigurationError, StorageError, WarehouseError
from dap_pipeline.lake.folders import refused_by_storage, storage_errors
from dap_pipeline.lake.opening import first_line
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.sql import literal
from dap_pipeline.warehouse.views import select_of

_FORMATS = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER",
    ".jsonl": "FORMAT json",
}


def sql_of(table: PublishedTable) -> str:
    """Write the query that gives the rows of a version.

    Raises:
        WarehouseError: its files cannot be read.
    """
    with duckdb.connect() as connection:
        try:
            return f"{select_of(connection, table)};"
        except duckdb.Error as error:
            raise _unreadable(table, error) from error


def write_version(table: PublishedTable, file: Path) -> int:
    """Write the rows of a version into a Parquet, CSV or JSONL file, and count them.

    Raises:
        ConfigurationError: the name of the file ends otherwise.
        StorageError: the file may not be written, or the disk is full.
        WarehouseError: the files of the version cannot be read.
    """
    form = _FORMATS.get(file.suffix.lower())
    if form is None:
        raise ConfigurationError(
            f"{file} does not tell its format",
            advice=f"Let its name end in {', '.join(_FORMATS)}.",
        )
    draft = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        with storage_errors(f"write {file}"), duckdb.connect() as connection:
            draft.touch(mode=0o600)
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")
            query = f"COPY ({select_of(connection, table)}) TO {literal(str(draft))}"
            rows = connection.execute(f"{query} ({form}, USE_TMP_FILE false)").fetchall()[0][0]
            draft.replace(file)
    except duckdb.Error as error:
        reason = refused_by_storage(str(error))
        if reason is not None:
            raise StorageError(f"could not write {file}: {reason}") from error
        raise _unreadable(table, error) from error
    finally:
        draft.unlink(missing_ok=True)
    return int(rows)


def _unreadable(table: PublishedTable, error: duckdb.Error) -> WarehouseError:
    reason = first_line(error)
    return WarehouseError(
        f"version {table.version} cannot be read: {reason}",
        advice="See the versions with `dap-pipeline history`.",
    ).at(table.name.namespace, table.name.table)
