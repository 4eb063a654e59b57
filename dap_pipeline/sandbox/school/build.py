"""Builds the school: every table of the shipped catalogue, parents before children."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import duckdb

from dap_pipeline.sandbox.dialect import quoted
from dap_pipeline.sandbox.store import Store, naive

from . import (
    assignments,
    content,
    courses,
    discussions,
    enrollments,
    groups,
    logs,
    messages,
    orders,
    outcomes,
    people,
    quizzes,
    shop,
    submissions,
    tools,
)
from .catalogue import shipped_tables
from .recipe import Recipe, insert_rows
from .world import World

# A real school has tables that it does not use; readers must cope with them.
EMPTY_TABLES = ("canvas.collaborations", "catalog.bulk_invitations", "catalog.custom_emails")
FEWEST_LOG_ROWS = 200


def build_school(store: Store, *, seed: int = 1, rows: int = 200_000, as_of: datetime) -> None:
    """Create and fill all tables, about `rows` rows in all, as they were at `as_of`.

    The same seed, rows and `as_of` give the same rows in every table. What an interrupted build
    left behind is removed first.

    Raises:
        ValueError: The store already holds a school.
    """
    if store.school_committed_at() is not None:
        raise ValueError("The store already holds a school.")
    world = World(seed=seed, rows=rows, opened=naive(as_of), now=naive(as_of))
    _clear(store)
    for table in shipped_tables().values():
        store.create_table(
            table.namespace, table.short_name, dict(table.schema), version=table.version
        )
    with store.cursor() as connection:
        fill(connection, recipes(world), world)
        rest = max(FEWEST_LOG_ROWS, rows - _count_rows(connection))
        fill(connection, [logs.recipe(world, rest)], world)
        remember(connection, world)
    store.commit_school(as_of)


def recipes(world: World) -> list[Recipe]:
    """All tables but the web log, parents before the tables that read them."""
    rooms = (
        people,
        courses,
        enrollments,
        groups,
        assignments,
        submissions,
        quizzes,
        discussions,
        messages,
        content,
        outcomes,
        tools,
        shop,
        orders,
    )
    return [recipe for room in rooms for recipe in room.recipes(world)]


def fill(connection: duckdb.DuckDBPyConnection, todo: Iterable[Recipe], world: World) -> None:
    """Insert the rows of each recipe that are not there yet."""
    for recipe in todo:
        insert_rows(connection, recipe, shipped_tables()[recipe.table], world)


def remembered(connection: duckdb.DuckDBPyConnection) -> World:
    """Read back what the school in a store was made from."""
    query = "SELECT seed, rows, opened, now, step FROM sandbox.school"
    seed, rows, opened, now, step = connection.execute(query).fetchall()[0]
    return World(seed=seed, rows=rows, opened=opened, now=now, step=step)


def remember(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    """Write down what the school in a store was made from."""
    connection.execute(
        "CREATE OR REPLACE TABLE sandbox.school"
        " (seed BIGINT, rows BIGINT, opened TIMESTAMP, now TIMESTAMP, step INTEGER)"
    )
    connection.execute(
        "INSERT INTO sandbox.school VALUES (?, ?, ?, ?, ?)",
        [world.seed, world.rows, world.opened, world.now, world.step],
    )


def _clear(store: Store) -> None:
    with store.transaction() as connection:
        for namespace in store.namespaces():
            connection.execute(f"DROP SCHEMA IF EXISTS {quoted(namespace)} CASCADE")
        connection.execute("DELETE FROM sandbox.tables")


def _count_rows(connection: duckdb.DuckDBPyConnection) -> int:
    counts = " UNION ALL ".join(
        f"SELECT count(*) AS n FROM {table.sql_name}" for table in shipped_tables().values()
    )
    return int(connection.execute(f"SELECT sum(n) FROM ({counts})").fetchall()[0][0])
