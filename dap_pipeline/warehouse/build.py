"""Builds the warehouse beside the old one and renames it over.

Whoever has the old file open keeps reading it; nobody waits for a lock of DuckDB. The Parquet
files that the old file names stay in the lake for a while, so such a reader sees its own state.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import StorageError, WarehouseError
from dap_pipeline.lake.folders import make_private
from dap_pipeline.lake.freshness import BY_RHYTHM, FreshnessRules
from dap_pipeline.lake.opening import first_line
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.sql import identifier
from dap_pipeline.lake.tables import Lake
from dap_pipeline.warehouse.about import SCHEMA, create_about, tell_freshness_anew
from dap_pipeline.warehouse.built import copy_of_same, mark_of, remember
from dap_pipeline.warehouse.changes import create_changes, schema_of
from dap_pipeline.warehouse.reading import Glance, LeftOut, ReadTable, glance_at, read_lake
from dap_pipeline.warehouse.views import create_view

_LOG = logging.getLogger(__name__)

LOCK_SECONDS = 120.0
"""How long a build waits for another build of the same file."""

# Files of this layout open in DuckDB 1.4 and later, and refuse a stale write-ahead log.
_STORAGE_VERSION = "v1.4.0"

# DuckDB tells the system's words only, in an exception that has many other causes.
_DISK_TROUBLE = tuple(
    os.strerror(number)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO)
)


@dataclass(frozen=True)
class RegisteredTable:
    """A table that has a view in the warehouse."""

    table: PublishedTable

    @property
    def name(self) -> TableName:
        """Namespace and name, which are the view's schema and name."""
        return self.table.name


@dataclass(frozen=True)
class WarehouseReport:
    """What was registered, where, and how long it took."""

    tables: tuple[RegisteredTable, ...]
    seconds: float
    file: Path
    left_out: tuple[LeftOut, ...] = ()
    """What the file does not have, since it cannot be read."""


def build_warehouse(
    lake: Lake,
    file: Path,
    *,
    freshness: FreshnessRules = BY_RHYTHM,
    lock_seconds: float = LOCK_SECONDS,
    anew: bool = False,
) -> WarehouseReport:
    """Write a new DuckDB file over every published table and put it in place of the old one.

    A table that cannot be read is left out, and so are changes that cannot; the report says why.

    Builds of the same file go one after the other, each over the lake as it is when its turn
    comes, so the last one to end is also the newest. A failed build leaves the old file.

    Args:
        lake: the published tables.
        file: the DuckDB file.
        freshness: when a table is stale.
        lock_seconds: how long to wait for another build.
        anew: build it even if a copy of the old file would do, with how fresh the tables are.

    Raises:
        LakeError: there are tables, and none can be read.
        StorageError: the disk is full, or the folder may not be written.
        WarehouseError: DuckDB cannot build the file, or another build does not end.
    """
    began = time.monotonic()
    file = file.absolute()
    with _failures_named(file), _turn(file, lock_seconds):
        glance = glance_at(lake)
        mark = mark_of(lake, glance)
        with _workshop(file) as folder:
            built = folder / file.name
            left_out: tuple[LeftOut, ...] = ()
            if not anew and _refreshed(built, file, glance, mark, freshness):
                tables = tuple(glance.tables.found.values())
            else:
                read, left_out = read_lake(lake, glance)
                _write(built, read, left_out, freshness)
                tables = tuple(each.table for each in read)
            _put_in_place(built, file)
            remember(file, None if left_out else mark)
    registered = tuple(RegisteredTable(table) for table in tables)
    return WarehouseReport(registered, time.monotonic() - began, file, left_out)


def _refreshed(
    built: Path, file: Path, glance: Glance, mark: str | None, freshness: FreshnessRules
) -> bool:
    """Make a copy of the old file that tells how fresh the tables are; tell whether it will do."""
    if copy_of_same(file, mark, built):
        try:
            with _writing(built) as connection:
                tell_freshness_anew(connection, list(glance.tables.found.values()), freshness)
        except duckdb.Error as error:
            _LOG.warning("%s is built anew, since a copy of it will not do: %s", file, error)
        else:
            return True
    for left_over in built.parent.iterdir():
        left_over.unlink()
    return False


def _write(
    built: Path,
    tables: Sequence[ReadTable],
    left_out: Sequence[LeftOut],
    freshness: FreshnessRules,
) -> None:
    with _writing(built) as connection:
        namespaces = {each.table.name.namespace for each in tables}
        for schema in sorted({SCHEMA, *namespaces, *map(schema_of, namespaces)}):
            connection.execute(f"CREATE SCHEMA {identifier(schema)}")
        for each in tables:
            create_view(connection, each.table, each.stored)
        changes = [each.changes for each in tables if each.changes is not None]
        create_changes(connection, changes, [each.name for each in left_out])
        create_about(connection, [(each.table, each.past) for each in tables], freshness)


@contextmanager
def _writing(built: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a file, and commit what the block writes into it."""
    connection = duckdb.connect(
        str(built), config={"storage_compatibility_version": _STORAGE_VERSION}
    )
    try:
        # DuckDB 2 draws one on standard output when a statement takes long.
        connection.execute("SET enable_progress_bar = false")
        # A view is bound and not run: threads and optimizer would only add to each of hundreds.
        connection.execute("SET threads = 1")
        connection.execute("PRAGMA disable_optimizer")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
        # Closing would do it too, but keeps silent when the disk is full.
        connection.execute("CHECKPOINT")
    finally:
        connection.close()


def _put_in_place(built: Path, file: Path) -> None:
    built.chmod(0o600)
    built.replace(file)
    # Left by someone who had the old file open for writing; it would not match the new file.
    file.with_name(f"{file.name}.wal").unlink(missing_ok=True)


@contextmanager
def _turn(file: Path, seconds: float) -> Iterator[None]:
    make_private(file.parent)
    lock = FileLock(file.with_name(f"{file.name}.lock"), timeout=seconds, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise WarehouseError(
            f"another process has been building {file} for more than {seconds:g} seconds"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _workshop(file: Path) -> Iterator[Path]:
    # A folder of its owner only, because DuckDB creates files that everybody may read. Whatever
    # lies in such a folder while the lock is ours was left by a build that was killed.
    prefix = f".{file.name}-"
    for left_over in file.parent.glob(f"{prefix}*"):
        shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=file.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _failures_named(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StorageError(f"the warehouse {file} cannot be written: {reason}") from error
    except duckdb.Error as error:
        reason = first_line(error)
        if any(text in reason for text in _DISK_TROUBLE):
            raise StorageError(f"the warehouse {file} cannot be written: {reason}") from error
        raise WarehouseError(f"the warehouse {file} cannot be built: {reason}") from error
