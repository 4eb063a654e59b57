"""Takes the school from one commit to the next."""

from __future__ import annotations

from datetime import datetime

import duckdb

from dap_pipeline.sandbox.store import Store, naive

from . import logs
from .build import fill, recipes, remember, remembered
from .catalogue import Table, shipped_references, shipped_tables
from .changes import changes
from .expressions import instant
from .people import CANARY
from .world import LOG_DAYS, World

# How many of a thousand rows are deleted in a step, if no row of another table refers to them.
# Recipes that read one of these tables skip its tombstones.
_DELETED = {
    "canvas.favorites": 12,
    "canvas.submission_comments": 3,
    "canvas.group_memberships": 4,
    "canvas.discussion_entry_participants": 2,
    "canvas.discussion_topic_participants": 2,
    "canvas.context_module_progressions": 1,
    "canvas.communication_channels": 4,
    "canvas.comment_bank_items": 10,
    "canvas.custom_gradebook_column_data": 10,
    "canvas.originality_reports": 4,
    "canvas.web_conference_participants": 6,
    "canvas.calendar_events": 8,
    "catalog.cart_items": 15,
    "catalog.product_tags": 15,
}
_REVIVED = ("canvas.favorites", "canvas.group_memberships", "catalog.product_tags")
_REVIVED_PER_MILLE = 300


def advance_school(store: Store, *, now: datetime) -> None:
    """Commit the next state: new rows, changed rows, deleted rows, all with the commit time `now`.

    The outcome depends on the seed, the number of steps made and their times. Readers see all of
    it or nothing. Page views older than 30 days go without a trace, as the service keeps no more.

    Raises:
        ValueError: `now` is not later than the last commit.
    """
    with store.transaction() as connection:
        before = remembered(connection)
        if naive(now) <= before.now:
            raise ValueError(f"The school was already committed at {before.now:%Y-%m-%d %H:%M:%S}.")
        world = before.at(naive(now))
        views = logs.rows_for_step(connection, world)
        _forget_old_views(connection, world)
        _change(connection, world)
        _make_room_for_revived(connection, world)
        _delete(connection, world)
        fill(connection, recipes(world), world)
        fill(connection, [logs.recipe(world, views)], world)
        _bury_unrevived(connection)
        remember(connection, world)
        connection.execute(f"UPDATE sandbox.state SET committed_at = {world.now_sql}")


def _forget_old_views(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    connection.execute(
        f"DELETE FROM {logs.TABLE} WHERE timestamp < {instant(world.now - LOG_DAYS)}"
    )


def _change(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    for number, change in enumerate(changes(world)):
        connection.execute(change.statement(world, number))


def _delete(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    for name, per_mille in _DELETED.items():
        table = shipped_tables()[name]
        emptied = ", ".join(f'"{column.name}" = NULL' for column in table.columns)
        keep = f"user_id <> {CANARY.user_id}" if table.column("user_id") else "true"
        connection.execute(
            f"UPDATE {table.sql_name} r SET {emptied}, meta_action = 'D', meta_ts = {world.now_sql}"
            f" WHERE meta_action = 'U' AND {keep} AND {_unreferenced(table)}"
            f" AND {world.draw(f'{world.step} deleted {name}', 'r.id', 1000)} < {per_mille}"
        )


def _unreferenced(table: Table) -> str:
    """No live row of any table refers to the row."""
    conditions = [
        f'r.id NOT IN (SELECT "{column}" FROM {shipped_tables()[child].sql_name}'
        f' WHERE "{column}" IS NOT NULL)'
        for child, columns in shipped_references().items()
        for column, targets in columns.items()
        if table.name in targets
    ]
    return " AND ".join(conditions) or "true"


def _make_room_for_revived(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    """Take away some tombstones, so that the recipes make their rows again."""
    for number, name in enumerate(_REVIVED):
        picked = f"{world.draw(f'{world.step} revived', 'id', 1000)} < {_REVIVED_PER_MILLE}"
        connection.execute(
            f"CREATE TEMP TABLE revived_{number} AS SELECT id, meta_ts FROM {name}"
            f" WHERE meta_action = 'D' AND {picked}"
        )
        connection.execute(f"DELETE FROM {name} WHERE id IN (SELECT id FROM revived_{number})")


def _bury_unrevived(connection: duckdb.DuckDBPyConnection) -> None:
    """Put back the tombstones of rows that no recipe makes any more."""
    for number, name in enumerate(_REVIVED):
        connection.execute(
            f"INSERT INTO {name} (id, meta_ts, meta_action) SELECT id, meta_ts, 'D'"
            f" FROM revived_{number} WHERE id NOT IN (SELECT id FROM {name})"
        )
