"""The made-up school in one DuckDB file: a typed table for each DAP table."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from .dialect import TableFields, quoted, table_fields

FILE_NAME = "school.duckdb"

_SYSTEM_TABLES = """
CREATE SCHEMA IF NOT EXISTS sandbox;
CREATE TABLE IF NOT EXISTS sandbox.tables (
    namespace VARCHAR NOT NULL, name VARCHAR NOT NULL, version INTEGER NOT NULL,
    schema VARCHAR NOT NULL, reloaded_at TIMESTAMP, PRIMARY KEY (namespace, name));
CREATE TABLE IF NOT EXISTS sandbox.state (committed_at TIMESTAMP);
"""


@dataclass(frozen=True)
class StoredTable:
    """A table as DAP describes it; `reloaded_at` is set when it was rebuilt from nothing."""

    namespace: str
    name: str
    version: int
    schema: dict[str, Any]
    reloaded_at: datetime | None

    @property
    def fields(self) -> TableFields:
        """The key and value fields."""
        return table_fields(self.schema)

    @property
    def sql_name(self) -> str:
        """The quoted name of the DuckDB table that holds the rows."""
        return f"{quoted(self.namespace)}.{quoted(self.name)}"


class Store:
    """The tables of the school, kept in `<folder>/school.duckdb`.

    Every DAP table is a DuckDB table `"<namespace>"."<table>"` with one column for each key and
    value field, then `meta_ts` (UTC) and `meta_action` ('U' for a live row, 'D' for a row that was
    hard-deleted: its value columns are NULL). One Store may be used by many threads.
    """

    def __init__(
        self, folder: Path, *, threads: int | None = None, memory_limit: str = "1GB"
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / FILE_NAME
        config: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": str(folder / "spill"),
            "memory_limit": memory_limit,
            # A step of the school changes most tables: one checkpoint after many, not one each.
            "checkpoint_threshold": "256MB",
        }
        if threads is not None:
            config["threads"] = threads
        self._connection = duckdb.connect(str(self.path), config=config)
        # DuckDB 2 draws one on standard output, where the service prints its address.
        self._connection.execute("SET enable_progress_bar = false")
        self.path.chmod(0o600)
        self._connection.execute(_SYSTEM_TABLES)
        self._writing = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write everything to the file and close it."""
        self._connection.close()

    @contextlib.contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a connection of its own to the file, for bulk SQL in one thread."""
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextlib.contextmanager
    def steady_cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a connection that sees one state of the file from its first query on."""
        with self.cursor() as cursor:
            cursor.begin()
            try:
                yield cursor
            finally:
                cursor.rollback()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a connection whose changes are seen all at once, or not at all after an error."""
        with self._writing, self.cursor() as cursor:
            cursor.begin()
            try:
                yield cursor
            except BaseException:
                cursor.rollback()
                raise
            cursor.commit()

    def create_table(
        self, namespace: str, name: str, schema: dict[str, Any], version: int = 1
    ) -> StoredTable:
        """Create the empty table of a JSON Schema (the `schema` part of a `/schema` answer)."""
        table = StoredTable(namespace, name, version, schema, None)
        columns = [f"{quoted(field.name)} {field.type.duckdb}" for field in table.fields.all]
        columns += ["meta_ts TIMESTAMP NOT NULL", "meta_action VARCHAR NOT NULL"]
        with self.transaction() as cursor:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(namespace)}")
            cursor.execute(f"CREATE TABLE {table.sql_name} ({', '.join(columns)})")
            cursor.execute(
                "INSERT INTO sandbox.tables VALUES (?, ?, ?, ?, NULL)",
                [namespace, name, version, json.dumps(schema)],
            )
        return table

    def change_schema(
        self,
        namespace: str,
        name: str,
        schema: dict[str, Any],
        version: int,
        cursor: duckdb.DuckDBPyConnection | None = None,
    ) -> None:
        """Register a newer schema; the caller alters the DuckDB table, with `cursor` if given."""
        with self._writer(cursor) as writer:
            writer.execute(
                "UPDATE sandbox.tables SET schema = ?, version = ?"
                " WHERE namespace = ? AND name = ?",
                [json.dumps(schema), version, namespace, name],
            )

    def mark_reloaded(
        self,
        namespace: str,
        name: str,
        at: datetime,
        cursor: duckdb.DuckDBPyConnection | None = None,
    ) -> None:
        """Remember that the table was rebuilt: increments since before `at` are refused."""
        with self._writer(cursor) as writer:
            writer.execute(
                "UPDATE sandbox.tables SET reloaded_at = ? WHERE namespace = ? AND name = ?",
                [naive(at), namespace, name],
            )

    def _writer(
        self, cursor: duckdb.DuckDBPyConnection | None
    ) -> contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Join the transaction of a cursor, or make one."""
        return self.transaction() if cursor is None else contextlib.nullcontext(cursor)

    def namespaces(self) -> list[str]:
        """Name the namespaces, sorted."""
        rows = self._rows("SELECT DISTINCT namespace FROM sandbox.tables ORDER BY namespace")
        return [row[0] for row in rows]

    def tables(self, namespace: str) -> list[str]:
        """Name the tables of a namespace, sorted; none for an unknown namespace."""
        rows = self._rows(
            "SELECT name FROM sandbox.tables WHERE namespace = ? ORDER BY name", [namespace]
        )
        return [row[0] for row in rows]

    def table(
        self, namespace: str, name: str, cursor: duckdb.DuckDBPyConnection | None = None
    ) -> StoredTable | None:
        """Look a table up, as `cursor` sees it if given; None if there is no such table."""
        rows = self._rows(
            "SELECT version, schema, reloaded_at FROM sandbox.tables"
            " WHERE namespace = ? AND name = ?",
            [namespace, name],
            cursor,
        )
        if not rows:
            return None
        version, schema, reloaded = rows[0]
        return StoredTable(namespace, name, version, json.loads(schema), _aware(reloaded))

    def committed_at(
        self, namespace: str, name: str, cursor: duckdb.DuckDBPyConnection | None = None
    ) -> datetime | None:
        """Tell the commit time of the table's newest record, or the school's if it has none."""
        table = f"{quoted(namespace)}.{quoted(name)}"
        newest = self._rows(f"SELECT max(meta_ts) FROM {table}", [], cursor)[0][0]
        return _aware(newest) if newest is not None else self.school_committed_at(cursor)

    def school_committed_at(
        self, cursor: duckdb.DuckDBPyConnection | None = None
    ) -> datetime | None:
        """Tell when the school was last committed; None before it was first built."""
        rows = self._rows("SELECT max(committed_at) FROM sandbox.state", [], cursor)
        return _aware(rows[0][0])

    def commit_school(self, at: datetime) -> None:
        """Record the commit time of the whole school."""
        with self.transaction() as cursor:
            cursor.execute("DELETE FROM sandbox.state")
            cursor.execute("INSERT INTO sandbox.state VALUES (?)", [naive(at)])

    def _rows(
        self,
        query: str,
        values: Sequence[Any] = (),
        cursor: duckdb.DuckDBPyConnection | None = None,
    ) -> list[tuple[Any, ...]]:
        if cursor is not None:
            return cursor.execute(query, list(values)).fetchall()
        with self.cursor() as own:
            return own.execute(query, list(values)).fetchall()


def naive(instant: datetime) -> datetime:
    """Turn an instant with a time zone into the UTC wall time that the columns hold."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def _aware(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.replace(tzinfo=UTC)
