"""What loads changed, as a small Delta table in the folder ``_changes`` of each table.

The file of a load's changes lies there before the load is committed, and the commit names it. Only
then is it committed here. So after a crash in between nothing is lost: the log of the table tells
which files are still to be committed. The transaction of each keeps it from coming twice.

The changes of one day lie in one file, so that a month of them is quick to read. All files are
alike: when the key of the table becomes another one, the earlier changes have theirs as JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import DeltaError

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.coltypes import INSTANT, TEXT, ColumnType, Kind
from dap_pipeline.lake.columns import META_TS, Column, Section, TableShape
from dap_pipeline.lake.commits import LOG_FOLDER, METADATA_KEY, NewLoad
from dap_pipeline.lake.duck import PACKED, RewriteOptions, connect, fetch, not_of_the_data
from dap_pipeline.lake.folders import make_files_private, storage_errors
from dap_pipeline.lake.merging.merge import BaseFile, changes_shape
from dap_pipeline.lake.merging.write import private_file
from dap_pipeline.lake.moving import Moved, stem_of
from dap_pipeline.lake.opening import NONSENSE, first_line
from dap_pipeline.lake.publishing import CHANGES_FOLDER, Content, create, open_table, replace
from dap_pipeline.lake.records import LoadRecord, PublishedTable
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.sql import identifier, literal, literals
from dap_pipeline.lake.verify import arrow_type, verified_footer

# A day's file that is larger is left as it is, and the next one begins another.
_LARGE = 64 << 20

_LOAD_COLUMNS = (
    Column(
        "load_version",
        Section.META,
        "load_version",
        ColumnType(Kind.INTEGER, "BIGINT"),
        description="Version of the table in the lake that the change came with.",
    ),
    Column(
        "load_job_id",
        Section.META,
        "load_job_id",
        TEXT,
        description="The DAP job that the change came from.",
    ),
    Column(
        "load_since",
        Section.META,
        "load_since",
        INSTANT,
        description="Where the job's range began; NULL for a snapshot.",
    ),
    Column(
        "load_until",
        Section.META,
        "load_until",
        INSTANT,
        description="Where the job's range ended.",
    ),
)
EARLIER_KEY = Column(
    "earlier_key",
    Section.META,
    "earlier_key",
    TEXT,
    description="The key as JSON, of a change from before the table had the key that it has now.",
)


def columns_of(shape: TableShape) -> TableShape:
    """Give the columns of the table of changes: key, ``change``, ``meta_ts``, and of the load."""
    told = changes_shape(shape)
    what = f"What was inserted, updated and deleted, by key. {shape.description}".strip()
    columns = (*told.columns, *_LOAD_COLUMNS, EARLIER_KEY)
    return dataclasses.replace(told, columns=columns, description=what)


def changes_in(paths: Sequence[Path], shape: TableShape) -> str:
    """Write the query of files of changes, which are alike, with the columns of ``columns_of``.

    Keys of another kind than the table has now are not made into it, nor left out.

    Raises:
        LakeError: the first file cannot be read.
    """
    try:
        there = pq.read_schema(paths[0])
        key = there.names[: there.names.index(META_TS.name) - 1]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise changes_unreadable(paths[0].parent, error) from error
    names = {c.name: identifier(c.name) for c in shape.columns if c.name in there.names}
    # Where a column of the key is called ``change``, ours has another name.
    names[shape.columns[len(shape.key)].name] = identifier(there.names[len(key)])
    if not _is_key_of(shape, key, there):
        pack = ", ".join(f"{identifier(name)} := {identifier(name)}" for name in key)
        earlier = f"CAST(to_json(struct_pack({pack})) AS VARCHAR)"
        known = names.get(EARLIER_KEY.name, "NULL")
        names |= dict.fromkeys(shape.key, "NULL")
        names[EARLIER_KEY.name] = f"coalesce({known}, {earlier})"
    columns = ", ".join(
        f"CAST({names.get(c.name, 'NULL')} AS {c.duckdb_type}) AS {identifier(c.name)}"
        for c in shape.columns
    )
    return f"SELECT {columns} FROM {_scan(paths)}"


def _is_key_of(shape: TableShape, key: Sequence[str], there: pa.Schema) -> bool:
    """Tell whether the key of files is that of the table, but for whole numbers being wider."""
    wanted = {name: arrow_type(shape.column(name).type) for name in shape.key}
    if wanted.keys() != set(key):
        return False
    pairs = [(wanted[name], there.field(name).type) for name in key]
    return all(now == was or _is_wider(now, was) for now, was in pairs)


def _is_wider(now: pa.DataType, was: pa.DataType) -> bool:
    if not (pa.types.is_integer(now) and pa.types.is_integer(was)):
        return False
    return now.bit_width > was.bit_width


def with_load(
    changes: WrittenFile, shape: TableShape, load: NewLoad, options: RewriteOptions
) -> WrittenFile:
    """Write a file of changes anew with the columns of the load that brought them.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    since = "NULL" if load.since is None else literal(load.since.isoformat())
    values = (str(load.version), literal(load.job_id), since, literal(load.at.isoformat()))
    told = ", ".join(
        f"CAST({value} AS {column.duckdb_type}) AS {identifier(column.name)}"
        for value, column in zip((*values, "NULL"), (*_LOAD_COLUMNS, EARLIER_KEY), strict=True)
    )
    query = f"SELECT *, {told} FROM {_scan([changes.path])}"
    target = changes.path.with_name("changes-of-load.parquet")
    written = _write(query, columns_of(shape), target, options)
    changes.path.unlink()
    return written


def waiting(folder: Path, loads: Iterable[LoadRecord]) -> frozenset[str]:
    """Name the files of changes that the table's log names and that are not yet committed.

    Raises:
        LakeError: the table of changes cannot be read.
    """
    aside = folder / CHANGES_FOLDER
    if not aside.is_dir():
        return frozenset()
    with _reading(aside):
        pending = _pending(open_table(aside), aside, loads)
    return frozenset(load.changes_file for load in pending if load.changes_file)


def unsettled(folder: Path, loads: Iterable[LoadRecord], keep: timedelta) -> bool:
    """Tell whether the table's log names changes that are not yet committed, or some are too old.

    Raises:
        LakeError: the table of changes cannot be read.
    """
    aside = folder / CHANGES_FOLDER
    if not aside.is_dir():
        return False
    with _reading(aside):
        delta = open_table(aside)
        if _pending(delta, aside, loads):
            return True
        return delta is not None and any(_too_old(_files(aside, delta), keep))


def settle(
    folder: Path,
    table: PublishedTable,
    loads: Iterable[LoadRecord],
    *,
    keep: timedelta,
    options: RewriteOptions,
) -> None:
    """Commit the files of changes that the log of the table names and that are not yet committed.

    Those that are older than ``keep`` go in the same commit, and also without new ones.

    Args:
        folder: folder of the table.
        table: its current version.
        loads: its loads, the newest first.
        keep: how long changes stay.
        options: what DuckDB may use.

    Raises:
        StorageError: the lake may not be written.
        LakeError: the table of changes cannot be read or written.
    """
    aside = folder / CHANGES_FOLDER
    if not aside.is_dir():
        return
    with storage_errors(f"write into {aside}"):
        try:
            delta = open_table(aside)
            pending = _pending(delta, aside, loads)
            known = [] if delta is None else _files(aside, delta)
            if pending or any(_too_old(known, keep)):
                _Settling(aside, delta, columns_of(table.shape), keep, options).commit(pending)
        except DeltaError as error:
            raise changes_unreadable(aside, error) from error


def files(folder: Path) -> tuple[str, ...]:
    """List the files of a table's changes, the newest first.

    Raises:
        LakeError: the table of changes cannot be read.
    """
    aside = folder / CHANGES_FOLDER
    with _reading(aside):
        delta = open_table(aside)
        return () if delta is None else tuple(str(file.path) for file in _files(aside, delta))


@contextlib.contextmanager
def _reading(aside: Path) -> Iterator[None]:
    try:
        yield
    except (DeltaError, *NONSENSE) as error:
        raise changes_unreadable(aside, error) from error


def changes_unreadable(aside: Path, error: Exception) -> LakeError:
    """Say that a table of changes cannot be used, and that the table itself can."""
    return LakeError(
        f"the changes in {aside} cannot be read or recorded: {first_line(error)}",
        advice="If that lasts, move this folder away: the table itself is whole, and changes are"
        " recorded anew from then on.",
    )


def _pending(
    delta: DeltaTable | None, aside: Path, loads: Iterable[LoadRecord]
) -> list[LoadRecord]:
    """Find the loads whose changes are not committed, the oldest first."""
    found: list[LoadRecord] = []
    for load in loads:
        if load.changes_file is None:
            continue
        if delta is not None and delta.transaction_version(_transaction(load)) is not None:
            break
        if (aside / load.changes_file).exists():
            found.append(load)
    return found[::-1]


def _transaction(load: LoadRecord) -> str:
    return f"{METADATA_KEY}:changes:{load.version}"


@dataclass(frozen=True)
class _Changes(BaseFile):
    day: int = 0
    """The UTC day on which the file came, counted from 1970."""


def _files(aside: Path, delta: DeltaTable) -> list[_Changes]:
    """List the committed files, the newest first."""
    rows: list[dict[str, Any]] = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    named = [
        (
            row["modification_time"],
            _Changes(
                aside / row["path"],
                row["num_records"],
                row["size_bytes"],
                {},
                {},
                _day(_instant(row["modification_time"])),
            ),
        )
        for row in rows
    ]
    return [file for _, file in sorted(named, key=lambda pair: (pair[0], pair[1].path))[::-1]]


def _too_old(known: Iterable[_Changes], keep: timedelta) -> list[_Changes]:
    oldest = _day(datetime.now(UTC) - keep)
    return [file for file in known if file.day < oldest]


def _instant(value: datetime | int) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.fromtimestamp(value / 1000, UTC)


def _day(instant: datetime) -> int:
    return int(instant.timestamp() // 86_400)


@dataclass(frozen=True)
class _Settling:
    """One commit to the table of changes."""

    aside: Path
    delta: DeltaTable | None
    shape: TableShape
    keep: timedelta
    options: RewriteOptions

    def commit(self, pending: Sequence[LoadRecord]) -> None:
        """Commit the changes of these loads; those of today become one file."""
        known = [] if self.delta is None else _files(self.aside, self.delta)
        old = _too_old(known, self.keep)
        came = [self.aside / load.changes_file for load in pending if load.changes_file]
        today = [f for f in known if came and f.day == _day(datetime.now(UTC))]
        today = [file for file in today if file.bytes < _LARGE and file not in old]
        stays = [file for file in known if file not in (*old, *today)]
        files = [self._one_file([*reversed(came), *(f.path for f in today)])] if came else []
        if self._is_another_shape():
            # All files are alike, and delta-rs changes a schema only where none stays.
            files += [self._anew(file.path) for file in stays]
            stays = []
        removed = [file for file in known if file not in stays]
        self._apply(Content(self.shape, files, stays, removed), pending)
        for path in came:
            if path not in [file.path for file in files]:
                path.unlink(missing_ok=True)

    def _is_another_shape(self) -> bool:
        if self.delta is None:
            return False
        wanted = Schema.from_json(self.shape.delta_schema())
        return Schema.from_json(self.delta.schema().to_json()) != wanted

    def _fits(self, path: Path) -> bool:
        with pq.ParquetFile(path) as file:
            there = [(field.name, field.type) for field in file.schema_arrow]
        return there == [(c.name, arrow_type(c.type)) for c in self.shape.columns]

    def _anew(self, path: Path) -> WrittenFile:
        """Write a file in the shape of now; it is as old as before."""
        query = changes_in([path], self.shape)
        written = _write(query, self.shape, self._target(), self.options)
        changed = path.stat().st_mtime
        os.utime(written.path, (changed, changed))
        return written

    def _one_file(self, paths: Sequence[Path]) -> WrittenFile:
        if len(paths) == 1 and self._fits(paths[0]):
            rows = verified_footer(paths[0], self.shape).rows
            return WrittenFile(paths[0], rows, paths[0].stat().st_size, {}, {})
        query = " UNION ALL ".join(changes_in([path], self.shape) for path in paths)
        return _write(query, self.shape, self._target(), self.options)

    def _target(self) -> Path:
        stem = stem_of("changes", time.strftime("%Y%m%d", time.gmtime()))
        return self.aside / f"{stem}.parquet"

    def _apply(self, content: Content, pending: Sequence[LoadRecord]) -> None:
        properties = CommitProperties(
            app_transactions=[Transaction(_transaction(load), 1) for load in pending],
            max_commit_retries=0,
        )
        moved = Moved([(file.path, file) for file in content.files])
        if self.delta is None:
            create(self.aside, "changes", content, moved, properties)
        else:
            replace(self.aside, self.delta, content, moved, properties)
        make_files_private(self.aside / LOG_FOLDER)


def _scan(paths: Sequence[Path]) -> str:
    return f"read_parquet({literals([str(p) for p in paths])}, hive_partitioning = false)"


def _write(query: str, shape: TableShape, target: Path, options: RewriteOptions) -> WrittenFile:
    with storage_errors(f"write {target}"), connect(options) as connection:
        private_file(target)
        try:
            # DuckDB writes into the file that is there, which only its owner can read.
            form = f"FORMAT parquet, {PACKED}, USE_TMP_FILE false"
            copy = f"COPY ({query}) TO {literal(str(target))} ({form})"
            rows = int(fetch(connection, copy)[0][0])
        except duckdb.Error as error:
            target.unlink(missing_ok=True)
            known = not_of_the_data(error, "write the changes")
            raise known or LakeError(f"{target} cannot be written") from error
    if verified_footer(target, shape).rows != rows:
        raise LakeError(f"{target} has other rows than were written")
    return WrittenFile(target, rows, target.stat().st_size, {}, {})
