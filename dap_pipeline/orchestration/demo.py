"""`make demo`: a made-up school, loaded with Dagster and queried with DuckDB, in one process."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import dagster as dg
from dagster import EventLogEntry
from pydantic import SecretStr
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine as Database
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from dap_pipeline.dap.models import Format, SnapshotQuery
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import ConfigurationError, DapPipelineError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.orchestration.home import (
    environment_of,
    home_of,
    prepare_home,
    sandbox_settings,
    school_folder,
    using_home,
)
from dap_pipeline.orchestration.naming import DUCKDB
from dap_pipeline.orchestration.questions import LOADED, QUESTIONS, Answer, ask
from dap_pipeline.orchestration.watching import WatchedRun, progress_of
from dap_pipeline.orchestration.wiring import build_definitions
from dap_pipeline.sandbox.config import SandboxConfig, SandboxError
from dap_pipeline.sandbox.serve import running_sandbox
from dap_pipeline.settings import Settings


def run_demo(settings: Settings, console: Console) -> int:
    """Load every table of the embedded service, query them, and give the exit code.

    Real credentials are not looked at. Data and history are those of `make dev` without
    credentials, which then shows what happened here.

    Raises:
        ConfigurationError: the embedded service or Dagster is in use already.
        StorageError: a folder cannot be written.
    """
    with ExitStack() as stack:
        ours = stack.enter_context(_embedded_service(settings, console))
        home = home_of(ours)
        prepare_home(home)
        stack.enter_context(using_home(home))
        stack.enter_context(_environment({**environment_of(ours), "DAGSTER_HOME": str(home)}))
        stack.enter_context(_quick_history())
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        stack.enter_context(_jobs_started_ahead(ours))
        run = _materialize_all(ours, instance, console)
    if run.failures:
        _tell_failures(run, console)
        return 1
    _tell_results(ours, run, console)
    return 0


@contextmanager
def _embedded_service(settings: Settings, console: Console) -> Iterator[Settings]:
    ours = sandbox_settings(settings)
    config = SandboxConfig(
        folder=school_folder(ours), rate_limits=False, job_polls=0, rows=settings.demo_rows
    )
    _say(console, "Starting the embedded service with a made-up school …")
    try:
        with running_sandbox(config) as service:
            yield ours.model_copy(
                update={
                    "api_url": service.url,
                    "client_id": service.client_id,
                    "client_secret": SecretStr(service.client_secret),
                }
            )
    except SandboxError as error:
        raise ConfigurationError(
            f"the embedded service cannot start: {error}",
            advice="If `make dev` is running, materialize the tables there.",
        ) from None


@contextmanager
def _jobs_started_ahead(settings: Settings) -> Iterator[None]:
    """Ask for every table at once: DAP works on the jobs while Dagster takes table after table.

    Each table's own step asks the same and is given the same job.
    """
    stop = Stop()
    query = SnapshotQuery(Format(settings.source_format.value))

    def start_jobs() -> None:
        # What goes wrong here goes wrong in the table's step too, where it is told.
        with suppress(DapPipelineError), Engine.open(settings) as engine:
            for name in engine.catalogue().names():
                engine.client.start(name, query, stop)

    thread = threading.Thread(target=start_jobs, name="jobs-ahead", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _quick_history() -> Iterator[None]:
    """Let SQLite not wait for the disk: half of a demo's time, and a demo can be repeated."""

    def connected(connection: DBAPIConnection, _record: object) -> None:
        connection.cursor().execute("PRAGMA synchronous = OFF")

    event.listen(Database, "connect", connected)
    try:
        yield
    finally:
        event.remove(Database, "connect", connected)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _materialize_all(
    settings: Settings, instance: dg.DagsterInstance, console: Console
) -> WatchedRun:
    definitions = build_definitions(settings)
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = list(definitions.resolve_all_asset_keys())
    run = WatchedRun(tables=sum(key.path[0] != DUCKDB for key in keys))
    run_id = str(uuid.uuid4())
    with progress_of(run, console) as show:

        def follow(entry: EventLogEntry) -> None:
            run.note(entry)
            show()

        instance.add_event_listener(run_id, follow)
        job.execute_in_process(
            instance=instance,
            run_id=run_id,
            asset_selection=keys,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    return run


def _tell_failures(run: WatchedRun, console: Console) -> None:
    failed = f"{len(run.failures)} of {run.tables + 1} steps failed."
    _say(console, *run.failures.values(), failed)


def _tell_results(settings: Settings, run: WatchedRun, console: Console) -> None:
    _say(
        console,
        f"{run.loaded} tables loaded, {run.unchanged} unchanged, {run.registered} registered.",
    )
    for question in (LOADED, *QUESTIONS):
        _say(console, "", question.words)
        console.print(_table(ask(settings.warehouse_file, question)))
    _say(
        console,
        "",
        f"Lake       {settings.lake_dir}",
        f"Warehouse  {settings.warehouse_file}",
        "Dagster    make dev",
    )


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(answer: Answer) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    first = answer.rows[0] if answer.rows else answer.columns
    for name, value in zip(answer.columns, first, strict=True):
        right = isinstance(value, int | float)
        table.add_column(name.replace("_", " "), justify="right" if right else "left")
    for row in answer.rows:
        table.add_row(*(f"{v:,}" if isinstance(v, int | float) else str(v) for v in row))
    return table
