"""Finds out what each record of an increment does to a table, from keys and instants alone.

The records of a key are ordered by ``meta_ts``; of two with the same instant, a deletion comes
after an upsert, and else the one that stands later in the files. The last one counts. It changes a
row of the table if it comes after that row in the same order, so the same records applied twice
change nothing the second time.

In the tables here the key columns are called ``k0``, ``k1`` …, so that no name of the table's own
can be taken for one of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.columns import META_ACTION, META_TS, Column, TableShape
from dap_pipeline.lake.duck import fetch
from dap_pipeline.lake.merging.layout import BaseFile, Touched
from dap_pipeline.lake.merging.read import ROW, Source, make_table, sources
from dap_pipeline.lake.sql import identifier

SURPLUS = "surplus"
"""What becomes of a row whose key a newer row of a log has too: it goes without being told."""

_DAY = 86_400_000_000
NO_DAY = -(10**9)
"""The day of rows without an instant."""


@dataclass(frozen=True)
class ChangeCounts:
    """What the records of an increment did, each key counted once."""

    inserted: int
    updated: int
    deleted: int
    unchanged: int
    """Records that are not newer than the table's row, and deletions of what is not there."""


@dataclass(frozen=True)
class Records:
    """Tidy files of an increment (or snapshot), and the shape that their rows are to have."""

    files: tuple[Source, ...]
    shape: TableShape
    day_column: str | None = None
    """The column by whose day rows are kept apart; None where they are not."""

    @property
    def key(self) -> list[Column]:
        """The key columns."""
        return [self.shape.column(name) for name in self.shape.key]

    @property
    def key_names(self) -> str:
        """The key columns as they are called in the tables here."""
        return ", ".join(f"k{number}" for number in range(len(self.shape.key)))

    def keys_of(self, source: Source) -> str:
        """Write the SQL of the key columns and ``meta_ts`` of files."""
        named = [(column, f"k{number}") for number, column in enumerate(self.key)]
        values = (f"{source.value(c)} AS {name}" for c, name in [*named, (META_TS, "meta_ts")])
        return ", ".join(values)


@dataclass(frozen=True)
class Plan:
    """What is known once the tables ``record`` and ``change`` are there."""

    counts: ChangeCounts
    touched: dict[int, Touched]
    """By the place of the file in the base."""
    inserts: dict[int, int]
    """Rows without a place in a file, by their partition."""
    surplus: int = 0
    """Rows that go since another row of their key stays, or went as a change."""


def read_records(connection: duckdb.DuckDBPyConnection, records: Records) -> None:
    """Make the table ``record``: for each key, where its last record stands."""
    selects = " UNION ALL ".join(_record(source, records) for source in records.files)
    connection.execute(f"CREATE TABLE record AS {selects}")
    keys = records.key_names
    repeated = f"SELECT 1 FROM record GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"
    if not fetch(connection, repeated):
        return
    last = f"PARTITION BY {keys} ORDER BY meta_ts DESC, deleted DESC, origin DESC, place DESC"
    connection.execute(
        "CREATE OR REPLACE TABLE record AS"
        f" SELECT * FROM record QUALIFY row_number() OVER ({last}) = 1"
    )


def _record(source: Source, records: Records) -> str:
    with_action = META_ACTION.name in source.types
    deleted = f"{identifier(META_ACTION.name)} = 'D'" if with_action else "false"
    return (
        f"SELECT {records.keys_of(source)}, {deleted} AS deleted,"
        f" {source.number} AS origin, {ROW} AS place, {_partition(source, records)} AS part"
        f" FROM {source.relation}"
    )


def _partition(source: Source, records: Records) -> str:
    if records.day_column is None or records.day_column not in source.types:
        return "0" if records.day_column is None else str(NO_DAY)
    return day_of(f"epoch_us({identifier(records.day_column)})")


def day_of(microseconds: str) -> str:
    """Write the SQL of the number of the UTC day, counted from 1970."""
    rest = f"(({microseconds} % {_DAY}) + {_DAY}) % {_DAY}"
    return f"coalesce(({microseconds} - {rest}) // {_DAY}, {NO_DAY})::INTEGER"


def candidates(
    connection: duckdb.DuckDBPyConnection, base: Sequence[BaseFile], records: Records
) -> list[int]:
    """Give the places of the files whose key bounds include the key of a record."""
    found = {place for place, file in enumerate(base) if file.rows}
    for position, column in enumerate(records.key):
        bounds = [
            (place, base[place].key_min[column.name], base[place].key_max[column.name])
            for place in sorted(found)
            if column.name in base[place].key_min and column.name in base[place].key_max
        ]
        if not bounds:
            continue
        kind = column.duckdb_type
        make_table(connection, "span", f"f INTEGER, a {kind}, b {kind}", bounds)
        # The smallest key that is not below a file's bounds must not be above them.
        nearest = f"span ASOF JOIN (SELECT k{position} AS k FROM record) ON a <= k"
        hit = {row[0] for row in fetch(connection, f"SELECT f FROM {nearest} WHERE k <= b")}
        found -= {place for place, *_ in bounds} - hit
    return sorted(found)


def compare_with_base(
    connection: duckdb.DuckDBPyConnection,
    base: Sequence[BaseFile],
    places: Sequence[int],
    records: Records,
) -> None:
    """Make the table ``change``: what each record does, and the row that it does it to.

    ``home`` is the place of the file in the base, ``home_row`` the row in that file.
    """
    found, order = sources([base[place].path for place in places])
    numbers = [places[place] for place in order]
    homes = list(enumerate(numbers))
    make_table(connection, "home", "number INTEGER, place INTEGER", homes)
    keys = records.key_names
    rows = [
        f"SELECT {records.keys_of(source)}, {source.number} AS number,"
        f" {ROW} AS home_row FROM {source.relation}"
        for source in found
    ] or [f"SELECT {keys}, meta_ts, 0 AS number, 0 AS home_row FROM record WHERE false"]
    newer = "r.meta_ts > b.meta_ts OR (r.deleted AND r.meta_ts = b.meta_ts)"
    change = (
        "CASE WHEN b.number IS NULL THEN CASE WHEN r.deleted THEN 'unchanged' ELSE 'insert' END"
        f" WHEN {newer} THEN CASE WHEN r.deleted THEN 'delete' ELSE 'update' END"
        " ELSE 'unchanged' END"
    )
    query = (
        f"SELECT r.* EXCLUDE (deleted), b.meta_ts AS known, b.number, b.home_row, {change}"
        f" AS change FROM ({' UNION ALL '.join(rows)}) b RIGHT JOIN record r USING ({keys})"
    )
    connection.execute(
        f"CREATE TABLE change AS SELECT c.* EXCLUDE (number, place), c.place, h.place AS home"
        f" FROM ({query}) c LEFT JOIN home h USING (number)"
    )
    connection.execute("DROP TABLE home")
    if records.day_column is not None:
        _leave_one_row(connection, keys)


def _leave_one_row(connection: duckdb.DuckDBPyConnection, keys: str) -> None:
    """Of several rows of a log with one key, leave the newest to the record."""
    records, changes = _counts(connection)
    if records == changes:
        return
    rank = f"row_number() OVER (PARTITION BY {keys} ORDER BY known DESC, home DESC, home_row DESC)"
    change = f"CASE WHEN {rank} = 1 THEN change ELSE '{SURPLUS}' END AS change"
    connection.execute(f"CREATE OR REPLACE TABLE change AS SELECT * REPLACE ({change}) FROM change")


def _counts(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Count the records, and what they do."""
    told = f"SELECT count(*) FROM change WHERE change <> '{SURPLUS}'"
    return (
        int(fetch(connection, "SELECT count(*) FROM record")[0][0]),
        int(fetch(connection, told)[0][0]),
    )


def plan(
    connection: duckdb.DuckDBPyConnection, partitions: Sequence[int], file: str = "the table"
) -> Plan:
    """Count what ``change`` says; rows whose partition is not that of their file move to it.

    Raises:
        LakeError: a key of the increment occurs more than once in the table.
    """
    records, changes = _counts(connection)
    if records != changes:
        raise LakeError(
            f"{file} holds a key of the increment more than once",
            advice="Take a snapshot of the table.",
        )
    _mark_movers(connection, partitions)
    by_change = dict(fetch(connection, "SELECT change, count(*) FROM change GROUP BY change"))
    touched = fetch(
        connection,
        "SELECT home, count(*), count(*) FILTER (change = 'update' AND NOT moves) FROM change"
        f" WHERE change IN ('update', 'delete', '{SURPLUS}') GROUP BY home",
    )
    inserts = fetch(
        connection,
        "SELECT part, count(*) FROM change WHERE change = 'insert' OR moves GROUP BY part",
    )
    return Plan(
        ChangeCounts(
            inserted=by_change.get("insert", 0),
            updated=by_change.get("update", 0),
            deleted=by_change.get("delete", 0),
            unchanged=by_change.get("unchanged", 0),
        ),
        {home: Touched(removed, returned) for home, removed, returned in touched},
        dict(inserts),
        by_change.get(SURPLUS, 0),
    )


def _mark_movers(connection: duckdb.DuckDBPyConnection, partitions: Sequence[int]) -> None:
    connection.execute("ALTER TABLE change ADD COLUMN moves BOOLEAN DEFAULT false")
    if not any(partitions):
        return
    homes = list(enumerate(partitions))
    make_table(connection, "home", "home INTEGER, day INTEGER", homes)
    connection.execute(
        "UPDATE change SET moves = true FROM home"
        " WHERE change.home = home.home AND change = 'update' AND part <> day"
    )
