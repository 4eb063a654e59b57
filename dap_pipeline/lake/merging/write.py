"""Writes the files of a merge, each verified against what was counted beforehand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.coltypes import ColumnType, Kind
from dap_pipeline.lake.columns import META_TS, Column, Section, TableShape
from dap_pipeline.lake.duck import PACKED, beside, fetch
from dap_pipeline.lake.merging.layout import BaseFile, Group, KeyValue, Layout
from dap_pipeline.lake.merging.plan import SURPLUS, Records
from dap_pipeline.lake.merging.read import ROW, make_table, source
from dap_pipeline.lake.naming import own_names
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.sql import identifier, literal, literals
from dap_pipeline.lake.verify import verified_footer

CHANGE = Column(
    "change",
    Section.META,
    "change",
    ColumnType(Kind.ENUM),
    required=True,
    description="What happened to the key: insert, update or delete.",
    members=("insert", "update", "delete"),
)

# A longer text is no use as a bound, and cut it would be a wrong one.
_LONGEST_BOUND = 64
# So many groups take less time to read the increment, each by itself, than sorting it takes.
_FEW = 4
# Files that are written at the same time.
_AT_ONCE = 2
# Stands beside the columns of a table, which have no such names.
_SLOT = "__slot"


def changes_shape(shape: TableShape) -> TableShape:
    """Give the columns of a file of changes: the key, ``change`` and ``meta_ts``.

    Where a column of the key is called ``change``, ours is ``change_meta``.
    """
    key = tuple(shape.column(name) for name in shape.key)
    fields = [(name, Section.KEY.value) for name in shape.key]
    *_, name = own_names([*fields, (CHANGE.name, Section.META.value)], (META_TS.name,))
    return replace(shape, columns=(*key, replace(CHANGE, name=name), META_TS))


@dataclass(frozen=True)
class Writer:
    """Writes into ``work`` with a connection that has the table ``change``."""

    connection: duckdb.DuckDBPyConnection
    base: Sequence[BaseFile]
    records: Records
    layout: Layout
    work: Path

    def write(self) -> list[WrittenFile]:
        """Write the file of each group that has rows.

        Raises:
            LakeError: a file has other rows or columns than it should.
        """
        self._place()
        routed = self.work / "routed"
        try:
            if self._reads() > _FEW:
                self._route(routed)
                return self._write_groups(lambda slot: _routed(routed, slot))
            near = {slot: self._near(slot) for slot in self._wanted()}
            brought = self._brought()
            return self._write_groups(lambda slot: f"({brought}) WHERE {near[slot]}")
        finally:
            shutil.rmtree(routed, ignore_errors=True)

    def _write_groups(self, brought: Callable[[int], str]) -> list[WrittenFile]:
        wanted = self._wanted()
        try:
            return self._write_at_once(wanted, brought)
        except duckdb.OutOfMemoryException:
            return [self._write_group(self.connection, slot, brought) for slot in wanted]

    def _write_at_once(
        self, slots: Sequence[int], brought: Callable[[int], str]
    ) -> list[WrittenFile]:
        """Write some files at once: what one leaves idle at its begin and end, another uses."""
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            made = [pool.submit(self._write_beside, slot, brought) for slot in slots]
            return [each.result() for each in made]
        finally:
            pool.shutdown(cancel_futures=True)

    def _wanted(self) -> list[int]:
        """Choose the groups that have rows; a table without any rows has one file all the same."""
        groups = self.layout.groups
        wanted = [slot for slot, group in enumerate(groups) if group.kept + group.placed]
        all_gone = bool(groups) and len(self.layout.removed) == len(self.base)
        return wanted or ([0] if all_gone else [])

    def _place(self) -> None:
        """Make the table ``placed``: the slot of every row that the increment brings."""
        groups = list(enumerate(self.layout.groups))
        homes = [(number, slot) for slot, group in groups for number in group.files]
        spans = [(g.partition, *g.inserts, slot) for slot, g in groups if g.inserts]
        make_table(self.connection, "seat", "home INTEGER, slot INTEGER", homes)
        make_table(self.connection, "span", "part INTEGER, a BIGINT, b BIGINT, slot INTEGER", spans)
        keys = self.records.key_names
        one_each = len({partition for partition, *_ in spans}) == len(spans)
        number = "0" if one_each else f"row_number() OVER (PARTITION BY part ORDER BY {keys})"
        least = "" if one_each else "AND n > a AND n <= b"
        self.connection.execute(
            "CREATE OR REPLACE TABLE placed AS"
            f" SELECT c.origin AS __origin, c.place AS __place, s.slot AS {_SLOT}, c.k0 AS __key"
            " FROM change c JOIN seat s USING (home)"
            " WHERE change = 'update' AND NOT moves UNION ALL"
            f" SELECT i.origin, i.place, s.slot, i.k0 FROM (SELECT *, {number} AS n FROM change"
            f" WHERE change = 'insert' OR moves) i JOIN span s ON i.part = s.part {least}"
        )
        self.connection.execute(
            f"CREATE OR REPLACE TABLE ends AS SELECT {_SLOT}, min(__key) AS least,"
            f" max(__key) AS most FROM placed GROUP BY {_SLOT}"
        )

    def _brought(self) -> str:
        """Write the query of the rows that the increment brings, with their slots."""
        columns = self.records.shape.columns
        return " UNION ALL ".join(
            f"SELECT {each.values(columns)}, {_SLOT} FROM (SELECT *, {each.number} AS __origin,"
            f" {ROW} AS __place FROM {each.relation}) JOIN placed USING (__origin, __place)"
            for each in self.records.files
        )

    def _reads(self) -> float:
        """Tell how often the increment is read when each group takes its own rows from it."""
        if self._key.kind is not Kind.INTEGER:
            return sum(group.placed > 0 for group in self.layout.groups)
        paths = [str(path) for each in self.records.files for path in each.paths]
        rows, read = fetch(
            self.connection,
            "WITH block AS (SELECT row_group_num_rows AS n, stats_min_value::HUGEINT AS low,"
            f" stats_max_value::HUGEINT AS high FROM parquet_metadata({literals(paths)})"
            f" WHERE path_in_schema = {literal(self._key.name)}) SELECT (SELECT sum(n) FROM block),"
            f" (SELECT sum(n) FROM ends JOIN block"
            " ON coalesce(least <= high AND most >= low, true))",
        )[0]
        return (read or 0) / (rows or 1)

    def _route(self, folder: Path) -> None:
        """Part what the increment brings by its slots, so that each group reads its own only."""
        copy = (
            f"COPY ({self._brought()}) TO {literal(str(folder))} (FORMAT parquet,"
            f" COMPRESSION lz4, PARTITION_BY ({_SLOT}), ROW_GROUP_SIZE_BYTES '16MB')"
        )
        folder.mkdir(mode=0o700)
        try:
            fetch(self.connection, copy)
        except duckdb.OutOfMemoryException:
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
            self.connection.execute("SET threads = 1")
            self.connection.execute("SET partitioned_write_flush_threshold = 16384")
            fetch(self.connection, copy)

    def _write_beside(self, slot: int, brought: Callable[[int], str]) -> WrittenFile:
        with beside(self.connection) as connection:
            return self._write_group(connection, slot, brought)

    def _write_group(
        self, connection: duckdb.DuckDBPyConnection, slot: int, brought: Callable[[int], str]
    ) -> WrittenFile:
        group = self.layout.groups[slot]
        selects = list(self._kept(group))
        if group.placed:
            names = ", ".join(identifier(column.name) for column in self.records.shape.columns)
            selects.append(f"SELECT {names} FROM {brought(slot)}")
        return write_file(
            connection,
            " UNION ALL ".join(selects),
            self.records.shape,
            self.work / f"merged-{slot:05d}.parquet",
            rows=group.kept + group.placed,
        )

    def _near(self, slot: int) -> str:
        """Write which rows a slot has, and what keys: others' row groups need not be read."""
        found = fetch(self.connection, f"SELECT least, most FROM ends WHERE {_SLOT} = {slot}")
        if not found or self._key.kind is not Kind.INTEGER:
            return f"{_SLOT} = {slot}"
        least, most = found[0]
        return f"{_SLOT} = {slot} AND {identifier(self._key.name)} BETWEEN {least} AND {most}"

    @property
    def _key(self) -> Column:
        return self.records.key[0]

    def _kept(self, group: Group) -> Iterator[str]:
        for number in group.files:
            each = source(self.base[number].path)
            gone = (
                f"SELECT home_row AS __row FROM change WHERE home = {number}"
                " AND change <> 'unchanged'"
            )
            yield (
                f"SELECT {each.values(self.records.shape.columns)}"
                f" FROM (SELECT *, {ROW} AS __row FROM {each.relation})"
                f" ANTI JOIN ({gone}) USING (__row)"
            )


def write_changes(
    connection: duckdb.DuckDBPyConnection, shape: TableShape, work: Path
) -> WrittenFile | None:
    """Write what became of each key that changed, from the table ``change``; None if none did."""
    columns = changes_shape(shape)
    named = [f"k{n} AS {identifier(name)}" for n, name in enumerate(columns.key)]
    names = ", ".join([*named, f"change AS {identifier(columns.columns[-2].name)}", "meta_ts"])
    told = f"FROM change WHERE change NOT IN ('unchanged', '{SURPLUS}')"
    rows = fetch(connection, f"SELECT count(*) {told}")[0][0]
    if not rows:
        return None
    query = f"SELECT {names} {told}"
    return write_file(connection, query, columns, work / "changes.parquet", rows=rows)


def write_file(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    shape: TableShape,
    target: Path,
    *,
    rows: int,
) -> WrittenFile:
    """Write a query as a Parquet file of the shape, and count its rows.

    Raises:
        LakeError: the file has other rows or columns.
    """
    written = _copy_within_memory(connection, query, target, PACKED)
    footer = verified_footer(target, shape)
    if not written == footer.rows == rows:
        raise LakeError(
            f"{target.name} should have {rows} rows, {written} were written and {footer.rows}"
            " are there",
            advice="Take a snapshot of the table; if it happens again, report it with this text.",
        )
    return described(connection, target, shape, rows)


def _copy_within_memory(
    connection: duckdb.DuckDBPyConnection, query: str, target: Path, compression: str
) -> int:
    private_file(target)
    try:
        return _copy(connection, query, target, compression, "16MB")
    except duckdb.OutOfMemoryException:
        # Rows of very long texts: one thread and small row groups take the least memory.
        connection.execute("SET threads = 1")
        return _copy(connection, query, target, compression, "2MB")


def _copy(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    target: Path,
    compression: str,
    row_group: str,
) -> int:
    options = (
        f"FORMAT parquet, {compression}, USE_TMP_FILE false,"
        f" ROW_GROUP_SIZE_BYTES {literal(row_group)}"
    )
    copied = fetch(connection, f"COPY ({query}) TO {literal(str(target))} ({options})")
    return int(copied[0][0])


def described(
    connection: duckdb.DuckDBPyConnection, target: Path, shape: TableShape, rows: int
) -> WrittenFile:
    """Find the bounds of the keys of a file that was written."""
    names = [name for name in shape.key if rows and _has_bounds(shape.column(name))]
    lows: dict[str, KeyValue] = {}
    highs: dict[str, KeyValue] = {}
    if names:
        values = ", ".join(f"min({k}), max({k})" for k in map(identifier, names))
        found = fetch(connection, f"SELECT {values} FROM {_relation(target)}")[0]
        for name, low, high in zip(names, found[::2], found[1::2], strict=True):
            if all(isinstance(b, int) or len(b) <= _LONGEST_BOUND for b in (low, high)):
                lows[name], highs[name] = low, high
    return WrittenFile(target, rows, target.stat().st_size, lows, highs)


def _has_bounds(column: Column) -> bool:
    return column.kind is Kind.INTEGER or column.duckdb_type == "VARCHAR"


def _routed(folder: Path, slot: int) -> str:
    return _relation(folder / f"{_SLOT}={slot}" / "*.parquet")


def _relation(path: Path) -> str:
    return f"read_parquet({literal(str(path))}, hive_partitioning = false)"


def private_file(path: Path) -> None:
    """Make an empty file that only its owner can read; DuckDB writes into it."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
