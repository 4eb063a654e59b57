"""The process of the embedded service whose jobs hand out files that lie there already."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from benchmarks.file_server import serving_files
from benchmarks.service import NAMESPACE, PLAIN_SCHEMA, ReadyTable, ServiceSpec, read_spec
from dap_pipeline.sandbox.app import Service
from dap_pipeline.sandbox.assembly import BuildSchool
from dap_pipeline.sandbox.clock import Clock
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.job_book import Job, JobBook, Result
from dap_pipeline.sandbox.jobs import Jobs, JobSettings
from dap_pipeline.sandbox.limits import DOCUMENTED_LIMITS, RateLimiter
from dap_pipeline.sandbox.objects import Links
from dap_pipeline.sandbox.queries import Query
from dap_pipeline.sandbox.selections import Selection
from dap_pipeline.sandbox.serve import running_sandbox
from dap_pipeline.sandbox.store import Store, StoredTable

COMMITTED_AT = datetime(2026, 11, 20, 8, tzinfo=UTC)
_MOST_JOBS = 256
_REFRESHED_AFTER = timedelta(hours=4)


class ReadyJobs(Jobs):
    """Jobs whose files lie there already; increments have none."""

    def __init__(self, tables: Mapping[str, ReadyTable], folder: Path, **parts: Any) -> None:
        super().__init__(folder=folder, **parts)
        self._tables = tables
        self._objects = folder

    def _select(
        self, table: StoredTable, query: Query, cursor: DuckDBPyConnection | None = None
    ) -> Selection:
        """Allow increments from any instant on: their results go on without the store."""
        if query.since is None:
            return super()._select(table, query, cursor)
        return Selection(table, query.since + _REFRESHED_AFTER, query.since)

    def _produce(self, job: Job) -> Result:
        table = self._tables[job.table]
        time.sleep(table.seconds)
        if job.query.since is not None:
            # Nothing has changed since then, and DAP has been refreshed meanwhile.
            return Result((), table.version, job.query.since, job.query.since + _REFRESHED_AFTER)
        folder = self._objects / job.id
        folder.mkdir(mode=0o700)
        for path in map(Path, table.files):
            (folder / path.name).symlink_to(path)
        names = tuple(Path(path).name for path in table.files)
        return Result(names, table.version, None, COMMITTED_AT)


@dataclass(frozen=True)
class ReadyLinks(Links):
    """Links that lead to the file server."""

    files_url: str = ""

    def sign(self, base_url: str, object_id: str) -> str:  # noqa: ARG002
        """Make the link of an object."""
        return super().sign(self.files_url, object_id)


class FastClock(Clock):
    """A clock that runs so many times faster than real time."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale
        self._began = time.monotonic()

    def now(self) -> datetime:
        """Tell the time."""
        return COMMITTED_AT + timedelta(seconds=(time.monotonic() - self._began) * self._scale)


def _serve(spec: ServiceSpec) -> None:
    """Answer until the process is told to end."""
    config = SandboxConfig(spec.folder, rate_limits=False)
    with (
        serving_files(spec.folder, spec.network) as files_url,
        running_sandbox(config, build=_builder(spec)) as running,
    ):
        service = running.service
        service.jobs.close()
        service.jobs = _ready_jobs(spec, service)
        service.links = ReadyLinks(service.links.signing_key, service.clock, files_url)
        if spec.limits:
            service.limiter = RateLimiter(FastClock(spec.time_scale), DOCUMENTED_LIMITS)
        told = {
            "url": running.url,
            "client_id": running.client_id,
            "client_secret": running.client_secret,
        }
        print(json.dumps(told), flush=True)
        _until_told_to_end()


def _builder(spec: ServiceSpec) -> BuildSchool:
    def build(store: Store, as_of: datetime) -> None:  # noqa: ARG001
        for table in spec.tables:
            schema = table.schema or PLAIN_SCHEMA
            store.create_table(NAMESPACE, table.name, schema, table.version)
        store.commit_school(COMMITTED_AT)

    return build


def _ready_jobs(spec: ServiceSpec, service: Service) -> ReadyJobs:
    return ReadyJobs(
        {table.name: table for table in spec.tables},
        spec.folder / "objects",
        store=service.store,
        clock=service.clock,
        book=JobBook(spec.folder / "ready.sqlite"),
        settings=JobSettings(polls=0, workers=_MOST_JOBS),
    )


def _until_told_to_end() -> None:
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: ending.set())
    ending.wait()


if __name__ == "__main__":
    _serve(read_spec(Path(sys.argv[1])))
