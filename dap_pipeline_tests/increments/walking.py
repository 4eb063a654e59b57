"""One walk: a school of some tables changes step by step, and the lake follows.

After every step the published table is the truth, the counts are what happened, and what was
recorded as changed is what changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import LoadKind, LoadMode, LoadResult, Outcome, PublishedTable
from dap_pipeline.lake.sql import identifier, literals
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.dialect import Field
from dap_pipeline.sandbox.faults import Faults
from dap_pipeline.sandbox.interceptors import Call, Interceptor, Proceed
from dap_pipeline.sandbox.jobs import Jobs
from dap_pipeline.sandbox.life import Bump, Life, Truth
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.serve import RunningSandbox, running_sandbox
from dap_pipeline.sandbox.store import Store, naive
from dap_pipeline.settings import Settings, load_settings
from dap_pipeline.warehouse.build import build_warehouse
from dap_pipeline.warehouse.views import select_of

from .judging import Row, Rows, differences, expected, plain, plain_row

HISTORY_DAYS = 20
WEB_LOGS = "canvas_logs.web_logs"
Schemas = Mapping[str, Mapping[str, Any]]
# Each answer of 429 halves what is allowed.
_UNLIMITED = dict.fromkeys(
    [f"{what}_per_minute" for what in ("creates", "polls", "lists", "schemas", "links")], 10**15
)


@dataclass
class Known:
    """What is known about one table: which truths there were, and what the lake must hold."""

    truths: dict[tuple[datetime, int], Truth] = field(default_factory=dict)
    rows: Rows = field(default_factory=dict)
    """With the time of each row's commit as its last value."""
    by_name: dict[Row, dict[str, Any]] = field(default_factory=dict)
    """The rows of a log by the names of their fields: the lake keeps what DAP drops."""
    later_columns: dict[str, datetime] = field(default_factory=dict)
    """Up to when the rows in the lake lack the default of a required column."""
    published: PublishedTable | None = None
    key_changed: bool = False
    """Since the last load."""


class AtOnce(Interceptor):
    """Answers a query when its job is done: the wait before the first poll is half of a load."""

    jobs: Jobs
    is_on = True

    async def answer(self, call: Call, proceed: Proceed) -> Response:
        """Answer with the complete job instead of the waiting one."""
        response = await proceed()
        is_waiting = call.endpoint is Endpoint.DATA and response.status_code == 202
        if not (self.is_on and is_waiting):
            return response
        return await run_in_threadpool(self._finished, json.loads(bytes(response.body))["id"])

    def _finished(self, job_id: str) -> Response:
        self.jobs.wait(job_id)
        status, body = self.jobs.look(job_id)
        return JSONResponse(body, status)


class Walk:
    """A service with these tables, and a lake that is loaded from it."""

    def __init__(
        self,
        service: RunningSandbox,
        engines: Sequence[Engine],
        overlapping: Engine,
        faults: Faults,
        at_once: AtOnce,
        names: Sequence[str],
        seed: int,
    ) -> None:
        self.school = service
        self.engines = engines
        self.engine = engines[0]
        self.overlapping = overlapping
        self.faults = faults
        self.at_once = at_once
        self.names = names
        self.life = Life(service.service.store, service.service.clock, seed, extreme=True)
        self.known = {name: Known() for name in names}
        self.judge_of_files = duckdb.connect(config={"threads": 1})

    def change(self, name: str, what: str, rows: int) -> bool:
        """Change a table; False where it cannot change so."""
        known = self.known[name]
        try:
            change = self.life.make(name, what, rows)
        except ValueError:
            return False
        if what == Bump.REQUIRED_COLUMN_ADDED.value and known.published is not None:
            known.later_columns[change.field] = known.published.watermark
        known.key_changed |= what == Bump.KEY_CHANGED.value
        return True

    def pause(self, hours: float) -> None:
        """Let time pass, with a commit to another table: DAP keeps what is recent only."""
        now = self.school.service.clock.advance(timedelta(hours=hours))
        if hours:
            self.school.service.store.commit_school(now)

    def use(self, source: int) -> None:
        """Load in another source format from now on: the lake is the same."""
        self.engine = self.engines[source % len(self.engines)]

    def load_with_overlap(self, name: str) -> LoadResult:
        """Load a table with the changes of the last hour once more."""
        used, self.engine = self.engine, self.overlapping
        try:
            return self.load(name)
        finally:
            self.engine = used

    def load(self, name: str, mode: LoadMode = LoadMode.AUTO) -> LoadResult:
        """Load a table, and judge what is published then."""
        known, truth = self.known[name], self.school.truth(name)
        known.truths[truth.at, truth.version] = truth
        before = known.rows
        result = self.engine.load(table_name(name), mode=mode)
        load = result.table.load
        if mode is not LoadMode.SNAPSHOT or known.published is None:
            assert result.table.watermark == truth.at, "not up to date"
            # A new schema without a new row may wait for the next row.
            is_newest = load.schema_version == truth.version
            assert is_newest or result.outcome is Outcome.UNCHANGED, "not the newest schema"
        at = known.truths[load.at, load.schema_version]
        if known.published is not None:
            is_on = result.table.watermark >= known.published.watermark
            assert is_on, "the watermark went back"
        if result.outcome is Outcome.LOADED:
            self._take_over(name, at, result)
        self.judge(name, at)
        if result.outcome is Outcome.LOADED and known.published is not None:
            self._judge_counts(name, result, before, known.published)
        known.published, known.key_changed = result.table, False
        return result

    def judge(self, name: str, at: Truth | None = None) -> None:
        """Compare what is published with what must be."""
        published = self.engine.lake.table(table_name(name))
        assert published is not None
        load = published.load
        truth = at or self.known[name].truths[load.at, load.schema_version]
        gone = {column.name for column in published.shape.columns if column.gone}
        names = [column.name for column in published.shape.columns if column.name not in gone]
        assert names == [*(field.name for field in truth.fields), "meta_ts"]
        found = rows_of(self.judge_of_files, published, truth)
        assert published.rows == len(found)
        assert differences(found, self.known[name].rows) == [], f"{name} at {load.at}"

    def judge_views(self) -> None:
        """Compare every view of the warehouse with what the files must hold."""
        warehouse = self.engine.settings.warehouse_file
        build_warehouse(self.engine.lake, warehouse)
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            for name, known in self.known.items():
                if known.published is None:
                    continue
                load = known.published.load
                truth = known.truths[load.at, load.schema_version]
                found = _read(connection, _quoted(name), truth)
                assert differences(found, known.rows) == [], f"the view of {name}"

    def _take_over(self, name: str, truth: Truth, result: LoadResult) -> None:
        """Work out what must be published now."""
        known = self.known[name]
        rows = _with_times(truth)
        names = [each.name for each in truth.fields]
        lacking = known.later_columns.keys() - set(names)
        if result.table.load.kind is LoadKind.SNAPSHOT:
            known.later_columns.clear()
        known.later_columns |= dict.fromkeys(lacking, truth.at)
        for column in known.later_columns.keys() - lacking:
            # No increment brings the rows from before again: they are not told their default.
            place, last = names.index(column), naive(known.later_columns[column])
            for key, row in rows.items():
                if row[-1] <= last:
                    rows[key] = (*row[:place], None, *row[place + 1 :])
        known.rows = _with_older(known, rows, names) if name == WEB_LOGS else rows

    def _judge_counts(
        self, name: str, result: LoadResult, before: Rows, replaced: PublishedTable
    ) -> None:
        after, is_snapshot = self.known[name].rows, result.table.load.kind is LoadKind.SNAPSHOT
        if is_snapshot and replaced.shape.key != result.table.shape.key:
            assert result.counts is None, "keys of two kinds are compared"
            return
        if is_snapshot and name == WEB_LOGS:
            return  # it is merged: what DAP has dropped stays
        changes = dict.fromkeys(after.keys() - before.keys(), "insert")
        changes |= dict.fromkeys(before.keys() - after.keys(), "delete")
        both = before.keys() & after.keys()
        changes |= {key: "update" for key in both if before[key][-1] != after[key][-1]}
        counted = list(changes.values())
        counts = result.counts
        assert counts is not None
        assert (counts.inserted, counts.updated, counts.deleted) == tuple(
            counted.count(what) for what in ("insert", "update", "delete")
        )
        came = len(after) - counts.inserted - counts.updated
        if not is_snapshot:
            came = self._records(name, result) - len(changes)
        assert counts.unchanged == came
        assert self._recorded(name, result.table) == changes

    def _records(self, name: str, result: LoadResult) -> int:
        """Count the keys of which the increment had records, in the store."""
        load = result.table.load
        assert load.since is not None
        store = self.school.service.store
        namespace, _, short = name.partition(".")
        table = store.table(namespace, short)
        assert table is not None
        keys = ", ".join(identifier(each.name) for each in table.fields.key)
        with store.cursor() as cursor:
            rows = cursor.execute(
                f"SELECT DISTINCT {keys} FROM {table.sql_name} WHERE meta_ts > ? AND meta_ts <= ?",
                [naive(load.since), naive(load.at)],
            ).fetchall()
        return len(rows)

    def _recorded(self, name: str, published: PublishedTable) -> dict[Row, str]:
        """Read what was recorded as changed by the load that made a version."""
        files = self.engine.lake.changes(table_name(name))
        if not files:
            return {}
        load = published.load
        truth = self.known[name].truths[load.at, load.schema_version]
        keys = [_as_stored(each) for each in truth.key]
        source = f"read_parquet({literals(list(files))}, union_by_name = true)"
        of_load = f"FROM {source} WHERE load_version = {published.version}"
        connection = self.judge_of_files
        # Earlier loads, before the key changed, may be all that there is.
        if not connection.execute(f"SELECT 1 {of_load} LIMIT 1").fetchall():
            return {}
        rows = connection.execute(f"SELECT {', '.join(keys)}, change {of_load}").fetchall()
        kinds = [each.type for each in truth.key]
        found = {plain_row(row[:-1], kinds): row[-1] for row in rows}
        assert len(found) == len(rows), "a change is recorded twice"
        return found


def rows_of(connection: duckdb.DuckDBPyConnection, published: PublishedTable, truth: Truth) -> Rows:
    """Read the fields of a truth, then `meta_ts`, by the query of a table's view, by key."""
    return _read(connection, f"({select_of(connection, published)})", truth)


def _read(connection: duckdb.DuckDBPyConnection, source: str, truth: Truth) -> Rows:
    """Read the fields of a truth, then `meta_ts`, by key."""
    connection.execute("SET TimeZone = 'UTC'")
    columns = ", ".join([*(_as_stored(each) for each in truth.fields), "meta_ts::TIMESTAMP"])
    found: dict[Row, Row] = {}
    rows = connection.execute(f"SELECT {columns} FROM {source}").fetchall()
    for row in rows:
        values = plain_row(row[:-1], (each.type for each in truth.fields))
        found[values[: len(truth.key)]] = (*values, row[-1])
    assert len(found) == len(rows), "a key is there twice"
    return found


def _with_older(known: Known, rows: Rows, names: Sequence[str]) -> Rows:
    """Add the rows of a log that DAP has dropped; a row that came before stays as it was."""
    for key, row in rows.items():
        if key not in known.by_name or known.by_name[key]["meta_ts"] < row[-1]:
            known.by_name[key] = dict(zip([*names, "meta_ts"], row, strict=True))
    columns = [*names, "meta_ts"]
    return {key: tuple(row.get(column) for column in columns) for key, row in known.by_name.items()}


def _as_stored(field: Field) -> str:
    """Read a column as the store has it: the lake has instants with a zone, and times as texts."""
    return f"CAST({identifier(field.name)} AS {field.type.duckdb})"


def _with_times(truth: Truth) -> dict[Row, Row]:
    rows = expected(truth)
    kinds = [each.type for each in truth.key]
    times = {
        tuple(plain(value, kind) for value, kind in zip(key, kinds, strict=True)): row[-1]
        for key, row in truth.rows.items()
    }
    return {key: (*row, times[key]) for key, row in rows.items()}


def table_name(name: str) -> TableName:
    """Read `namespace.table`."""
    namespace, _, table = name.partition(".")
    return TableName(namespace, table)


def _quoted(name: str) -> str:
    return ".".join(identifier(part) for part in name.split("."))


@contextmanager
def walk(schemas: Schemas, seed: int) -> Iterator[Walk]:
    """Run a service with these tables, a few rows in each, and load them all into a new lake."""

    def build(store: Store, as_of: datetime) -> None:
        for name, schema in schemas.items():
            namespace, _, table = name.partition(".")
            store.create_table(namespace, table, dict(schema))
        store.commit_school(as_of)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        faults, at_once = Faults(), AtOnce()
        config = SandboxConfig(
            folder / "school",
            rate_limits=False,
            job_polls=0,
            rows_per_part=5,
            history_days=HISTORY_DAYS,
        )
        school = stack.enter_context(
            running_sandbox(config, build=build, advance=_nothing, interceptors=[faults, at_once])
        )
        at_once.jobs = school.service.jobs
        *engines, overlapping = [
            stack.enter_context(Engine.open(settings_for(school, folder / "data", **chosen)))
            for chosen in (
                {"source_format": "parquet"},
                {"source_format": "jsonl"},
                {"source_format": "parquet", "increment_overlap": timedelta(hours=1)},
            )
        ]
        walking = Walk(school, engines, overlapping, faults, at_once, list(schemas), seed)
        stack.enter_context(walking.judge_of_files)
        for number, name in enumerate(schemas):
            walking.life.insert(name, 6)
            walking.use(number)
            walking.load(name)
        yield walking


def settings_for(school: RunningSandbox, folder: Path, **more: Any) -> Settings:
    """Give settings that hurry, since nobody else uses the service."""
    return load_settings(
        api_url=school.url,
        client_id=school.client_id,
        client_secret=school.client_secret,
        data_dir=folder,
        retry_wait=0.01,
        job_retry_wait=0.01,
        may_be_empty="*",
        duckdb_threads=1,
        **_UNLIMITED,
        **more,
    )


def _nothing(store: Store, now: datetime) -> None:
    """Stand in for the made-up school, whose tables are not there."""
