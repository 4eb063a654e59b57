"""Keeps the jobs of the service in a SQLite file, so that a restart forgets none."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .clock import instant_text
from .queries import Query

JOB_LIFETIME = timedelta(hours=24)

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, namespace TEXT NOT NULL, table_name TEXT NOT NULL, scope TEXT NOT NULL,
    query TEXT NOT NULL, started_at REAL NOT NULL, started_text TEXT NOT NULL, outcome TEXT)
"""
_COLUMNS = "id, namespace, table_name, scope, query, started_text, outcome"


@dataclass(frozen=True)
class Result:
    """What a finished job made: its files and the state or range of the table in them."""

    files: tuple[str, ...]
    schema_version: int
    since: datetime | None
    until: datetime


@dataclass(frozen=True)
class Failure:
    """Why a job failed: the object under `error`."""

    type: str
    uuid: str
    message: str


@dataclass(frozen=True)
class Job:
    """A job; without an outcome it is still at work."""

    id: str
    namespace: str
    table: str
    query: Query
    started_at: datetime
    scope: str = ""
    outcome: Result | Failure | None = None

    @property
    def expires_at(self) -> datetime:
        """When the job and its objects vanish."""
        return self.started_at + JOB_LIFETIME


class JobBook:
    """The table of jobs; safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(_TABLE)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(self, job: Job) -> None:
        """Write down a new job."""
        started = job.started_at
        self._execute(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                *(job.id, job.namespace, job.table, job.scope, job.query.text()),
                *(started.timestamp(), instant_text(started)),
            ),
        )

    def finish(self, job_id: str, outcome: Result | Failure) -> bool:
        """Write down how a job ended; False if the job has vanished meanwhile."""
        text = json.dumps(_outcome_fields(outcome))
        statement = "UPDATE jobs SET outcome = ? WHERE id = ? RETURNING id"
        return bool(self._execute(statement, (text, job_id)))

    def get(self, job_id: str) -> Job | None:
        """Look a job up."""
        rows = self._execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,))
        return _job(rows[0]) if rows else None

    def find(self, namespace: str, table: str, scope: str, query: Query) -> Job | None:
        """Look for the newest job with these very parameters."""
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE namespace = ? AND table_name = ? AND scope = ?"
            " AND query = ? ORDER BY started_at DESC, rowid DESC LIMIT 1",
            (namespace, table, scope, query.text()),
        )
        return _job(rows[0]) if rows else None

    def unfinished(self) -> list[Job]:
        """List the jobs that a stop of the service cut short."""
        rows = self._execute(f"SELECT {_COLUMNS} FROM jobs WHERE outcome IS NULL ORDER BY rowid")
        return [_job(row) for row in rows]

    def remove_expired(self, now: datetime) -> list[str]:
        """Forget the jobs whose 24 hours are over, and name them."""
        latest_start = (now - JOB_LIFETIME).timestamp()
        rows = self._execute("DELETE FROM jobs WHERE started_at <= ? RETURNING id", (latest_start,))
        return [row[0] for row in rows]

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()


def _job(row: tuple[Any, ...]) -> Job:
    job_id, namespace, table, scope, query, started, outcome = row
    return Job(
        job_id,
        namespace,
        table,
        Query.from_text(query),
        datetime.fromisoformat(started),
        scope,
        None if outcome is None else _outcome(json.loads(outcome)),
    )


def _outcome_fields(outcome: Result | Failure) -> dict[str, Any]:
    if isinstance(outcome, Failure):
        return vars(outcome)
    since = None if outcome.since is None else instant_text(outcome.since)
    return {**vars(outcome), "since": since, "until": instant_text(outcome.until)}


def _outcome(fields: dict[str, Any]) -> Result | Failure:
    if "message" in fields:
        return Failure(**fields)
    since = fields["since"]
    return Result(
        tuple(fields["files"]),
        fields["schema_version"],
        None if since is None else datetime.fromisoformat(since),
        datetime.fromisoformat(fields["until"]),
    )
