"""Changes to single tables of a running service, drawn at random from a seed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import duckdb

from dap_pipeline.sandbox.clock import Clock
from dap_pipeline.sandbox.dialect import Kind, quoted
from dap_pipeline.sandbox.selections import LOG_NAMESPACE
from dap_pipeline.sandbox.store import Store, StoredTable, naive

from .evolution import Bump, next_version, redefined
from .values import Draw, DrawnField, drawn_fields, key_value

Key = tuple[Any, ...]
_TICK = timedelta(microseconds=1)
_LOST_IN_RELOAD = 0.2


@dataclass(frozen=True)
class Change:
    """What a change did: when it was committed and which keys it concerns.

    `field` is the one that a new schema version is about.
    """

    at: datetime
    keys: tuple[Key, ...] = ()
    field: str = ""


class Life:
    """Changes tables, one commit for each call; the same seed and calls give the same values.

    Numbers are moderate unless `extreme` is set: with those, the made-up school cannot go on.

    Tables are named `namespace.table`. A commit has the time of the service's clock, and is later
    than every commit before it. Fewer rows than asked for are changed where there are no more.

    Every method raises LookupError for a table that the service does not have.
    """

    def __init__(self, store: Store, clock: Clock, seed: int = 0, *, extreme: bool = False) -> None:
        self._store = store
        self._clock = clock
        self._draw = Draw(Random(seed), extreme)  # noqa: S311  # made-up rows are no secret

    def insert(self, name: str, rows: int = 1) -> Change:
        """Add rows with keys that the table never had."""
        with self._commit(name) as commit:
            return Change(commit.at, commit.insert(commit.new_keys(rows)))

    def update(self, name: str, rows: int = 1) -> Change:
        """Give live rows other values."""
        with self._commit(name) as commit:
            return Change(commit.at, commit.replace("U", rows, alive=True))

    def delete(self, name: str, rows: int = 1) -> Change:
        """Delete live rows for good: of each, only its key stays."""
        with self._commit(name) as commit:
            return Change(commit.at, commit.replace("D", rows))

    def revive(self, name: str, rows: int = 1) -> Change:
        """Insert rows again whose keys were deleted."""
        with self._commit(name) as commit:
            return Change(commit.at, commit.replace("U", rows, alive=False))

    def bury(self, name: str, rows: int = 1) -> Change:
        """Tell of the deletion of keys that no snapshot ever had."""
        with self._commit(name) as commit:
            keys = commit.new_keys(rows)
            return Change(commit.at, commit.insert(keys, "D"))

    def deliver_again(self, name: str, rows: int = 1) -> Change:
        """Commit rows once more beside their first copy, as happens to web_logs.

        Half of them come twice in this very commit.
        """
        with self._commit(name) as commit:
            return Change(commit.at, commit.deliver_again(rows))

    def reload(self, name: str) -> Change:
        """Rebuild a table from nothing: some rows are gone without a trace, all others are new.

        Increments from before are then refused: they could not tell what is gone.
        """
        with self._commit(name) as commit:
            gone = commit.reload()
            self._store.mark_reloaded(*_split(name), commit.at, commit.cursor)
            return Change(commit.at, gone)

    def bump(self, name: str, bump: Bump) -> Change:
        """Give a table its next schema version.

        No row is committed with it, except that a changed key concerns all rows.

        Raises:
            ValueError: the table has no field that could change so.
        """
        with self._commit(name) as commit:
            new = next_version(commit.table, bump, self._draw.random)
            for statement in new.statements:
                commit.cursor.execute(statement)
            keys = commit.commit_all() if bump is Bump.KEY_CHANGED else ()
            version = commit.table.version + 1
            self._store.change_schema(*_split(name), new.schema, version, commit.cursor)
            return Change(commit.at, keys, new.field)

    def redefine(self, name: str, field: str, node: dict[str, Any]) -> Change:
        """Give a table its next schema version, in which a field is what this node says.

        A value field may be new, of another type than before, or have a name that was used before:
        no row has a value of it then. A key of another type concerns all rows.
        """
        with self._commit(name) as commit:
            new = redefined(commit.table, field, node)
            for statement in new.statements:
                commit.cursor.execute(statement)
            is_key = field in new.schema["properties"]["key"]["properties"]
            keys = commit.commit_all() if is_key else ()
            version = commit.table.version + 1
            self._store.change_schema(*_split(name), new.schema, version, commit.cursor)
            return Change(commit.at, keys, field)

    def make(self, name: str, what: str, rows: int = 1) -> Change:
        """Make the change with this word: a method of this class, or a value of Bump.

        Raises:
            ValueError: there is no such word, or the table cannot change so.
        """
        if what in {bump.value for bump in Bump}:
            return self.bump(name, Bump(what))
        if what == "reload":
            return self.reload(name)
        of_rows = {
            "insert": self.insert,
            "update": self.update,
            "delete": self.delete,
            "revive": self.revive,
            "bury": self.bury,
            "deliver_again": self.deliver_again,
        }
        if what not in of_rows:
            words = ", ".join([*of_rows, "reload", *(bump.value for bump in Bump)])
            raise ValueError(f"There is no change {what!r}, but there are: {words}.")
        return of_rows[what](name, rows)

    @contextlib.contextmanager
    def _commit(self, name: str) -> Iterator[_Commit]:
        with self._store.transaction() as cursor:
            table = self._store.table(*_split(name), cursor)
            if table is None:
                raise LookupError(f"The service has no table {name}.")
            last, at = self._store.school_committed_at(cursor), self._clock.now()
            if last is not None:
                at = max(at, last + _TICK)
            yield _Commit(cursor, table, at, self._draw)
            cursor.execute("UPDATE sandbox.state SET committed_at = ?", [naive(at)])


@dataclass(frozen=True)
class _Commit:
    """One commit to one table, within one transaction of the store."""

    cursor: duckdb.DuckDBPyConnection
    table: StoredTable
    at: datetime
    source: Draw

    @property
    def _random(self) -> Random:
        return self.source.random

    @property
    def _at(self) -> str:
        return f"TIMESTAMP '{naive(self.at).isoformat(sep=' ')}'"

    @property
    def _key(self) -> str:
        return ", ".join(quoted(field.name) for field in self.table.fields.key)

    def new_keys(self, rows: int) -> list[tuple[str, ...]]:
        """Write keys that the table never had: numbers count on, texts are drawn."""
        fields = drawn_fields(self.table.schema, "key")
        return [
            # All but the last field of a key repeat, as those of a composite key do.
            (
                *(key_value(f.field.type, f.node, number % 3) for f in fields[:-1]),
                key_value(fields[-1].field.type, fields[-1].node, number),
            )
            for number in self._numbers(fields[-1], rows)
        ]

    def _numbers(self, last: DrawnField, rows: int) -> list[int]:
        if last.field.type.kind is not Kind.INTEGER:
            return [self._random.getrandbits(48) for _ in range(rows)]
        largest = f"SELECT coalesce(max({quoted(last.field.name)}), 0) FROM {self.table.sql_name}"
        first = self.cursor.execute(largest).fetchall()[0][0] + 1
        return list(range(first, first + rows))

    def insert(self, keys: list[tuple[str, ...]], action: str = "U") -> tuple[Key, ...]:
        """Insert rows with these keys (SQL); those of action D have no values."""
        drawn = drawn_fields(self.table.schema, "value") if action == "U" else []
        columns = [self._key, *(quoted(each.field.name) for each in drawn), "meta_ts, meta_action"]
        meta = [self._at, f"'{action}'"]
        rows = [f"({', '.join([*key, *self._values(drawn), *meta])})" for key in keys]
        if not rows:
            return ()
        return self._changed(
            f"INSERT INTO {self.table.sql_name} ({', '.join(columns)}) VALUES {', '.join(rows)}"
        )

    def replace(self, action: str, rows: int, *, alive: bool = True) -> tuple[Key, ...]:
        """Commit rows anew, drawn from those that are alive or deleted."""
        self._refuse_logs()
        drawn = drawn_fields(self.table.schema, "value")
        changed: list[Key] = []
        for key in self._draw(rows, alive):
            values = self._values(drawn) if action == "U" else ["NULL"] * len(drawn)
            assigned = [
                f"{quoted(each.field.name)} = {value}"
                for each, value in zip(drawn, values, strict=True)
            ]
            assigned += [f"meta_ts = {self._at}", f"meta_action = '{action}'"]
            matches = " AND ".join(f"{quoted(f.name)} = ?" for f in self.table.fields.key)
            self.cursor.execute(
                f"UPDATE {self.table.sql_name} SET {', '.join(assigned)} WHERE {matches}", [*key]
            )
            changed.append(key)
        return tuple(changed)

    def deliver_again(self, rows: int) -> tuple[Key, ...]:
        """Copy the newest live rows of some keys."""
        if self.table.namespace != LOG_NAMESPACE:
            raise ValueError(f"The keys of {self.table.name} are unique, as DAP promises.")
        keys = self._draw(rows, alive=True)
        names = ", ".join(quoted(field.name) for field in self.table.fields.all)
        matches = " AND ".join(f"{quoted(f.name)} = ?" for f in self.table.fields.key)
        for number, key in enumerate(keys):
            for _ in range(1 + number % 2):
                self.cursor.execute(
                    f"INSERT INTO {self.table.sql_name} ({names}, meta_ts, meta_action)"
                    f" SELECT {names}, {self._at}, 'U' FROM {self.table.sql_name}"
                    f" WHERE {matches} LIMIT 1",
                    [*key],
                )
        return tuple(keys)

    def reload(self) -> tuple[Key, ...]:
        """Lose some rows, and commit all others; gives the keys that are lost."""
        self._refuse_logs()
        alive = self._draw(None, alive=True)
        gone = [key for key in alive if self._random.random() < _LOST_IN_RELOAD]
        matches = " AND ".join(f"{quoted(f.name)} = ?" for f in self.table.fields.key)
        self.cursor.execute(f"DELETE FROM {self.table.sql_name} WHERE meta_action = 'D'")
        for key in gone:
            self.cursor.execute(f"DELETE FROM {self.table.sql_name} WHERE {matches}", [*key])
        self.commit_all()
        return tuple(gone)

    def commit_all(self) -> tuple[Key, ...]:
        """Commit every row anew with the values that it has."""
        return self._changed(f"UPDATE {self.table.sql_name} SET meta_ts = {self._at}")

    def _values(self, drawn: list[DrawnField]) -> list[str]:
        return [each.value(self.source) for each in drawn]

    def _changed(self, statement: str) -> tuple[Key, ...]:
        """Run a statement and give the keys of the rows that it changed."""
        return tuple(self.cursor.execute(f"{statement} RETURNING {self._key}").fetchall())

    def _draw(self, rows: int | None, alive: bool) -> list[Key]:
        found = self.cursor.execute(
            f"SELECT DISTINCT {self._key} FROM {self.table.sql_name}"
            f" WHERE meta_action {'<>' if alive else '='} 'D' ORDER BY {self._key}"
        ).fetchall()
        return found if rows is None else self._random.sample(found, min(rows, len(found)))

    def _refuse_logs(self) -> None:
        if self.table.namespace == LOG_NAMESPACE:
            raise ValueError(f"Rows of {self.table.name} are written once and never changed.")


def _split(name: str) -> tuple[str, str]:
    namespace, _, table = name.partition(".")
    return namespace, table
