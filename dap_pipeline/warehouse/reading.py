"""Reads what a build needs of the lake, table by table, and tells what must be left out.

All of it is read before anything is built: a view over files that cannot be read would make the
transaction of the build fail, and with it the views of all other tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError
from dap_pipeline.lake.changes_table import changes_unreadable
from dap_pipeline.lake.opening import first_line
from dap_pipeline.lake.past import Past
from dap_pipeline.lake.publishing import CHANGES_FOLDER
from dap_pipeline.lake.readings import Readings
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.tables import Lake
from dap_pipeline.warehouse import about
from dap_pipeline.warehouse.changes import ChangesView, changes_view
from dap_pipeline.warehouse.views import stored_types


@dataclass(frozen=True)
class ReadTable:
    """A table as it is registered."""

    table: PublishedTable
    stored: Mapping[str, str]
    """See ``stored_types``."""
    past: Past
    changes: ChangesView | None
    """None where the changes cannot be read."""


@dataclass(frozen=True)
class LeftOut:
    """What cannot be read of the lake, so that the warehouse does not have it."""

    name: TableName
    error: LakeError
    only_changes: bool = False
    """The table itself is registered."""

    def __str__(self) -> str:
        """Say what is missing, why, and what to do."""
        without = (
            "in the warehouse without its changes" if self.only_changes else "not in the warehouse"
        )
        what = self.error.what.rstrip(".")
        return f"{self.name} is {without}: {what}. {self.error.what_to_do}"


@dataclass(frozen=True)
class Glance:
    """What the logs tell, before any file of rows is looked into."""

    tables: Readings[PublishedTable]
    changes: Readings[tuple[str, ...]]
    """The files of each table's changes."""

    @property
    def is_whole(self) -> bool:
        """Whether all could be read."""
        return not self.tables.failures and not self.changes.failures


def glance_at(lake: Lake) -> Glance:
    """Read the logs of every published table; one that cannot be read holds no other up."""
    tables = lake.readable_tables()
    return Glance(tables, lake.all_changes(list(tables.found)))


def read_lake(lake: Lake, glance: Glance) -> tuple[list[ReadTable], tuple[LeftOut, ...]]:
    """Read what else is told of the tables; one that cannot be read holds no other up.

    Raises:
        LakeError: there are tables, and none can be read.
    """
    tables, changes = glance.tables, glance.changes
    with duckdb.connect() as connection:
        # What is read here is bound and not run, as in a build.
        connection.execute("SET threads = 1")
        connection.execute("PRAGMA disable_optimizer")
        reader = _Reader(lake, connection, changes)
        read = [found for table in tables.found.values() if (found := reader.read(table))]
    failures = [LeftOut(name, error) for name, error in tables.failures.items()]
    left_out = tuple(sorted([*failures, *reader.left_out], key=lambda each: each.name))
    if left_out and not read:
        raise left_out[0].error
    return read, left_out


class _Reader:
    def __init__(
        self,
        lake: Lake,
        connection: duckdb.DuckDBPyConnection,
        changes: Readings[tuple[str, ...]],
    ) -> None:
        self._lake, self._connection, self._changes = lake, connection, changes
        self.left_out: list[LeftOut] = []

    def read(self, table: PublishedTable) -> ReadTable | None:
        try:
            stored, past = self._stored(table), self._lake.past(table, about.LEAST_LOADS)
        except LakeError as error:
            self.left_out.append(LeftOut(table.name, error))
            return None
        return ReadTable(table, stored, past, self._view_of_changes(table))

    def _stored(self, table: PublishedTable) -> Mapping[str, str]:
        try:
            return stored_types(self._connection, table)
        except duckdb.Error as error:
            raise _lost(table, error) from error

    def _view_of_changes(self, table: PublishedTable) -> ChangesView | None:
        try:
            if table.name in self._changes.failures:
                raise self._changes.failures[table.name]
            return self._readable_changes(table, self._changes.found[table.name])
        except LakeError as error:
            self.left_out.append(LeftOut(table.name, error, only_changes=True))
            return None

    def _readable_changes(self, table: PublishedTable, files: Sequence[str]) -> ChangesView:
        view = changes_view(table, files)
        if not files:
            return view
        try:
            # DuckDB would miss a file other than the first only when the view is read.
            for file in files:
                Path(file).stat()
            self._connection.execute(f"DESCRIBE {view.query}")
        except (OSError, duckdb.Error) as error:
            aside = self._lake.folder(table.name) / CHANGES_FOLDER
            raise changes_unreadable(aside, error) from error
        return view


def _lost(table: PublishedTable, error: duckdb.Error) -> LakeError:
    reason = first_line(error)
    load = f"dap-pipeline load --namespace {table.name.namespace} --table {table.name.table}"
    return LakeError(
        f"its files cannot be read: {reason}",
        advice=f"Move the file away, if it is there, and bring it back with `{load} --mode auto`.",
    ).at(table.name.namespace, table.name.table)
