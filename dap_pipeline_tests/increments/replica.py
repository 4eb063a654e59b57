"""A copy of the embedded service in PostgreSQL, made by Instructure's own client."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

from dap_pipeline.sandbox.dialect import Field, Kind
from dap_pipeline.sandbox.life import Truth
from dap_pipeline.sandbox.queries import Format, Mode, Query
from dap_pipeline.sandbox.serve import RunningSandbox

from .judging import Rows, plain_row
from .postgres import Postgres


@dataclass(frozen=True)
class Replica:
    """Replicates tables with `initdb` and `syncdb`, and with `dropdb` what these cannot follow."""

    dap: Path
    sandbox: RunningSandbox
    postgres: Postgres
    folder: Path

    def init(self, tables: Sequence[str]) -> None:
        """Fill new tables from snapshots."""
        self._end_jobs(tables, {})
        self._run("initdb", tables)

    def sync(self, tables: Sequence[str]) -> None:
        """Bring tables up to date with increments."""
        self._end_jobs(tables, self.watermarks())
        self._run("syncdb", tables)

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables: the client takes no snapshot in place of an increment by itself."""
        self._run("dropdb", tables)

    def rows(self, name: str, truth: Truth) -> Rows:
        """Read a table with the fields of a truth, in plain form by key."""
        kinds = [field.type for field in truth.fields]
        keys = len(truth.key)
        table = sql.Identifier(*name.split("."))
        with self.postgres.connect() as connection:
            looked_up = self._lookups(connection, name)
            columns = [_column(name, field, looked_up) for field in truth.fields]
            query = sql.SQL("SELECT {} FROM {} t").format(sql.SQL(", ").join(columns), table)
            rows = [plain_row(row, kinds) for row in connection.execute(query)]
        found = {row[:keys]: row for row in rows}
        assert len(found) == len(rows), f"{name} has a key twice"
        return found

    def _lookups(self, connection: psycopg.Connection, name: str) -> set[str]:
        """Name the tables beside this one in which the client keeps the values of open enums."""
        namespace, _, table = name.partition(".")
        query = (
            "SELECT tablename FROM pg_tables WHERE schemaname = %s AND starts_with(tablename, %s)"
        )
        return {row[0] for row in connection.execute(query, [namespace, f"{table}__"])}

    def watermarks(self) -> dict[str, datetime]:
        """Tell up to when each table is replicated."""
        query = "SELECT source_namespace, source_table, timestamp FROM instructure_dap.table_sync"
        with self.postgres.connect() as connection:
            rows = connection.execute(query).fetchall()
        return {f"{namespace}.{name}": at.replace(tzinfo=UTC) for namespace, name, at in rows}

    def _run(self, command: str, tables: Sequence[str]) -> None:
        for namespace in dict.fromkeys(name.split(".")[0] for name in tables):
            chosen = [name for name in tables if name.startswith(f"{namespace}.")]
            names = ",".join(name.split(".")[1] for name in chosen)
            done = subprocess.run(
                [
                    *(str(self.dap), "--no-tracking", "--non-interactive"),
                    *("--base-url", self.sandbox.url, command),
                    *("--namespace", namespace, "--table", names),
                ],
                cwd=self.folder,
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=280,
            )
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

    def _end_jobs(self, tables: Sequence[str], since: Mapping[str, datetime]) -> None:
        """Have the jobs done that the client will ask for: it would wait 5 seconds for each."""
        service = self.sandbox.service
        for name in tables:
            namespace, _, short = name.partition(".")
            table = service.store.table(namespace, short)
            assert table is not None
            query = Query(Format.TSV, Mode.CONDENSED, since.get(name))
            service.jobs.wait(service.jobs.request(table, query)[1]["id"])

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DAP_CLIENT_ID": self.sandbox.client_id,
            "DAP_CLIENT_SECRET": self.sandbox.client_secret,
            "DAP_CONNECTION_STRING": self.postgres.url,
        }


def _column(name: str, field: Field, looked_up: set[str]) -> sql.Composable:
    """Read a column; an enum that may hold other texts too is a number into a table of its own."""
    namespace, _, table = name.partition(".")
    column, values = sql.Identifier("t", field.name), f"{table}__{field.name}"
    if values in looked_up:
        return sql.SQL("(SELECT value FROM {} WHERE id = {})").format(
            sql.Identifier(namespace, values), column
        )
    # psycopg knows no arrays of a type that was made here, such as an enum.
    return sql.SQL("{}::text[]").format(column) if field.type.kind is Kind.LIST else column
