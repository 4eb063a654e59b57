"""How the rows of one table come about: a source of rows, some columns, and defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from .catalogue import OVERSIZED, Table
from .defaults import by_type, default, enum_member, known_member
from .expressions import (
    commit_time,
    fraction,
    instant,
    maybe,
    moment,
    roll,
    seeded,
)
from .world import COMMIT_STEP, World

_WORD = re.compile(r"\w+")
_NEW_ROWS = "new_rows"
_OVERSIZED_ONCE_IN = 400
_MAY_BE_CUT = frozenset({"body", "comment", "description", "message", "syllabus_body"})


@dataclass(frozen=True)
class Recipe:
    """The rows of a table.

    `source` is a query that gives the key and all columns that follow from other tables, under
    the names that they have in this table; other names are scratch. `columns` are expressions
    over those and the ones before them. What is left follows the rules in `defaults`.
    """

    table: str
    source: str
    columns: Mapping[str, str] = field(default_factory=dict)


def insert_rows(
    connection: duckdb.DuckDBPyConnection, recipe: Recipe, table: Table, world: World
) -> None:
    """Insert all rows of the recipe, or in a later step those whose key is new."""
    source = recipe.source
    if world.since is not None:
        source = f"SELECT * FROM {_NEW_ROWS}"
        if not _keep_new_rows(connection, recipe, table):
            return
    query = seeded(world.seed, table.name, table.key.name, source)
    known = _names(connection, query) | set(recipe.columns)
    life = _life(known, table, world)
    query = _with_expressions(_with_expressions(query, recipe.columns), life)
    query = _select(query, known | set(life), table, world)
    # A later schema version may have added columns to the table: they keep their defaults.
    columns = ", ".join(f'"{column.name}"' for column in (table.key, *table.columns))
    into = f"{table.sql_name} ({columns}, meta_ts, meta_action)"
    connection.execute(f"INSERT INTO {into} {query}")


def _keep_new_rows(connection: duckdb.DuckDBPyConnection, recipe: Recipe, table: Table) -> int:
    """Put aside the rows of the source whose key is new: in most tables, few or none."""
    there = f"SELECT {table.key.name} FROM {table.sql_name}"
    ((count,),) = connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {_NEW_ROWS} AS SELECT * FROM ({recipe.source})"
        f" WHERE {table.key.name} NOT IN ({there})"
    ).fetchall()
    return int(count)


def _with_expressions(query: str, columns: Mapping[str, str]) -> str:
    """Add columns, those that use others in a layer above them.

    An alias used in its own SELECT would be copied into every expression that uses it, and from
    there into the next: the plan would grow beyond measure.
    """
    levels: dict[str, int] = {}
    for name, expression in columns.items():
        used = [levels[word] for word in set(_WORD.findall(expression)) if word in levels]
        levels[name] = 1 + max(used, default=-1)
    for level in range(1 + max(levels.values(), default=-1)):
        added = ", ".join(
            f'{columns[name]} AS "{name}"' for name in columns if levels[name] == level
        )
        query = f"SELECT *, {added} FROM ({query})"
    return query


def _names(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    return {column[0] for column in connection.execute(f"{query} LIMIT 0").description or ()}


def _life(known: set[str], table: Table, world: World) -> dict[str, str]:
    """When a row was made, changed and deleted, unless the recipe said so."""
    rules = {
        "created_at": moment("created_at", world.newest_from, world.now_sql),
        "workflow_state": _state(table, world),
        "updated_at": _updated_at(table, known, world),
        "deleted_at": _deleted_at(table),
    }
    return {
        name: rule
        for name, rule in rules.items()
        if table.column(name) is not None and name not in known
    }


def _state(table: Table, world: World) -> str:
    column = table.column("workflow_state")
    if column is None:
        return "NULL"
    return enum_member(column) if column.members else by_type(column, world)


def _updated_at(table: Table, known: set[str], world: World) -> str:
    made = "created_at"
    if made not in known and table.column(made) is None:
        return moment("updated_at", world.newest_from, world.now_sql)
    # Most rows are changed soon after they were made, or never again.
    late = f"power({fraction('updated_at')}, 4)"
    length = f"(epoch_ms({world.now_sql}) - epoch_ms({made}))"
    return f"({made} + to_milliseconds(CAST({late} * {length} AS BIGINT)))"


def _deleted_at(table: Table) -> str:
    state = table.column("workflow_state")
    if state is not None and "deleted" in state.members:
        return "CASE WHEN workflow_state = 'deleted' THEN updated_at END"
    return maybe("deleted_at", 15, "updated_at")


def _select(query: str, known: set[str], table: Table, world: World) -> str:
    values = [f'"{table.key.name}"']
    for column in table.columns:
        if column.name not in known:
            values.append(default(column, table, world))
        else:
            values.append(known_member(column, f'"{column.name}"'))
        if column.may_be_oversized and column.name in _MAY_BE_CUT:
            values[-1] = _sometimes_cut(column.name, values[-1])
    return f"SELECT {', '.join(values)}, {_meta_ts(known, world)}, 'U' FROM ({query})"


def _sometimes_cut(name: str, expression: str) -> str:
    oversized = f"{roll(f'{name} is cut', _OVERSIZED_ONCE_IN)} = 0"
    return (
        f"CASE WHEN {oversized} AND ({expression}) <> '' THEN '{OVERSIZED}' ELSE {expression} END"
    )


def _meta_ts(known: set[str], world: World) -> str:
    if world.since is not None:
        return world.now_sql
    changed = next(
        (name for name in ("updated_at", "created_at", "timestamp", "born") if name in known),
        moment("meta_ts", instant(world.began), world.now_sql),
    )
    return commit_time(f"coalesce({changed}, {instant(world.began)})", world.now, COMMIT_STEP)
