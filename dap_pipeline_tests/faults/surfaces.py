"""The ways to run the pipeline that every fault is tried on: the command line, and the lake."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pytest

from dap_pipeline.cli.main import run
from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import DapPipelineError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.tables import Lake as PublishedTables
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.settings import load_settings
from dap_pipeline_tests.sandbox import small_school

from .outcomes import Ended, Failure
from .service import TABLES, School

Rows = list[tuple[object, ...]]


CLEAN = Counter(
    {
        Endpoint.LOGIN: 1,
        Endpoint.TABLES: 1,
        Endpoint.SCHEMA: 3,
        Endpoint.DATA: 3,
        Endpoint.JOB: 3,
        Endpoint.OBJECT_URL: 2,
        Endpoint.OBJECT: 4,
    }
)
"""The calls of a load of all tables, where nothing goes wrong."""


class Surface(Protocol):
    """A way to run the pipeline on the three tables."""

    clean: Counter[Endpoint]
    """The calls that it makes where nothing goes wrong."""
    written: str
    """What it has said."""

    def run(self) -> Ended:
        """Run it, and tell how it ended."""

    def check(self, school: School, ended: Ended) -> None:
        """Check what lies on the disk."""


class CommandLine:
    """`dap-pipeline snapshot --table all`, in this process."""

    clean = CLEAN - Counter({Endpoint.SCHEMA: 3})

    def __init__(self, work: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.downloads = work / "downloads"
        self.written = ""
        self._capture = capture

    def run(self) -> Ended:
        """Run it, and read what it printed."""
        words = ["-v", "snapshot", "--namespace", "canvas", "--table", "all", "--json"]
        self._capture.readouterr()
        with _kept_log_levels():
            code = run([*words, "--output-directory", str(self.downloads)])
        printed = self._capture.readouterr()
        self.written += printed.out + printed.err
        ended = self._ended(printed.out, printed.err)
        whole = not ended.failures and ended.ended_by is None and len(ended.done) == len(TABLES)
        assert code == (0 if whole else 1), printed.err
        return ended

    def _ended(self, out: str, err: str) -> Ended:
        rows: list[dict[str, Any]] = json.loads(out) if out else []
        failures = {r["table"]: _failure(r) for r in rows if r["outcome"] == "failed"}
        done = frozenset(r["table"] for r in rows if r["outcome"] in ("done", "unchanged"))
        ended_by = None
        if not rows:
            ended_by = Failure("", err.partition("Error: ")[2].strip(), None, None, None)
        elif "Ended early" in err:
            said = err.partition("concerns every table. ")[2]
            ended_by = next(f for f in failures.values() if said.startswith(f.text))
        return Ended(done, failures, ended_by)

    def check(self, school: School, ended: Ended) -> None:
        """Check that every file is whole and the service's own, and that none is missing."""
        theirs = {f.read_bytes() for f in (school.folder / "objects").rglob("*") if f.is_file()}
        ours = [f for f in self.downloads.rglob("*") if f.is_file() and f.name[0] != "."]
        for file in ours:
            # What stays of a job that the service has forgotten can only be unpacked to its end.
            is_old = file.parent.name.removeprefix("job_") not in school.jobs
            assert gzip.decompress(file.read_bytes()) if is_old else file.read_bytes() in theirs
        assert all(file.parent.parent == self.downloads for file in ours), ours
        expected = sum(_PARTS[table] for table in ended.done)
        assert len({file.read_bytes() for file in ours}) >= expected
        if not ended.failures and ended.ended_by is None:
            current = [f for f in ours if f.parent.name.removeprefix("job_") in school.jobs]
            assert len(current) == expected or len(current) < len(ours)
            known = [self.downloads / f"job_{job}" for job in school.jobs]
            assert not [f for f in self.downloads.rglob(".*") if f.parent in known]


class Lake:
    """A load of all tables into the lake, through the engine."""

    clean = CLEAN

    def __init__(self) -> None:
        self.written = ""

    def run(self) -> Ended:
        """Load, and note every failure as it is."""
        with Engine.open(load_settings()) as engine:
            try:
                listed = engine.client.list_tables("canvas", Stop())
            except DapPipelineError as error:
                return Ended(frozenset(), {}, self._failure(error))
            result = engine.load_many([TableName("canvas", table) for table in listed])
        failures = {name.table: self._failure(e) for name, e in result.failures.items()}
        ended_by = None if result.ended_by is None else self._failure(result.ended_by)
        return Ended(frozenset(n.table for n in result.results), failures, ended_by)

    def check(self, school: School, ended: Ended) -> None:
        """Check that what is published is whole, and that nothing else is published."""
        check_published(ended)

    def _failure(self, error: DapPipelineError) -> Failure:
        self.written += f"{error}\n{error!r}\n"
        place = error.place
        return Failure(type(error).__name__, str(error), place.table, place.job_id, place.uuid)


def check_published(ended: Ended) -> None:
    """Check that the tables that are done are published, whole, and no others."""
    for table in TABLES:
        expected = expected_rows(table) if table in ended.done else None
        assert published_rows(table) == expected
    if not ended.failures and ended.ended_by is None:
        assert not list(load_settings().staging_dir.rglob("job_*"))


_PARTS = {"everything": 1, "nothing": 0, "users": 3}
_COLUMNS = {
    "everything": "id, label, small, text",
    "nothing": "id",
    "users": "id, name, workflow_state",
}


def published_rows(table: str) -> Rows | None:
    """Read what is published of a table in the order of its key; None where nothing is."""
    published = PublishedTables(load_settings().lake_dir).table(TableName("canvas", table))
    if published is None:
        return None
    files = ", ".join(f"'{file}'" for file in published.files)
    query = f"SELECT {_COLUMNS[table]} FROM read_parquet([{files}]) ORDER BY id"
    rows = duckdb.sql(query).fetchall() if files else []
    assert len(rows) == published.rows
    return rows


def expected_rows(table: str) -> Rows:
    """Give what is in the school."""
    if table == "users":
        numbers = range(1, small_school.USERS + 1)
        return [(number, f"User {number}", "registered") for number in numbers]
    if table == "everything":
        live = [row.values for row in small_school.EVERYTHING if row.action == "U"]
        names = _COLUMNS[table].split(", ")
        return [tuple(values.get(name) for name in names) for values in live]
    return []


def _failure(row: Mapping[str, Any]) -> Failure:
    return Failure(row["error"], row["message"], row["table"], row["job_id"], row["uuid"])


@contextlib.contextmanager
def _kept_log_levels() -> Iterator[None]:
    """Undo what the command line does to the logging of its process."""
    loggers = [logging.getLogger(name) for name in (None, "urllib3", "requests")]
    before = [logger.level for logger in loggers]
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
