"""Rows about waiting for jobs under DAP's limits."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from benchmarks.bound import bound, mixed_jobs
from benchmarks.contenders import OURS, official_dap, timed
from benchmarks.harness import (
    Bench,
    Contender,
    Figure,
    Row,
    Taken,
    at_most,
    row,
    take_turns,
)
from benchmarks.samples import plain_file
from benchmarks.service import (
    NAMESPACE,
    ReadyTable,
    RunningService,
    ServiceSpec,
    numbered,
    running_service,
)
from dap_pipeline_tests.orchestration.dev_process import Ui, dev

# Tables that the shipped catalogue knows: Dagster shows those.
_KNOWN = (
    *("accounts", "assignments", "courses", "enrollments", "attachments", "folders"),
    *("groups", "wiki_pages", "quizzes", "scores", "submissions", "users"),
)
_JOB_SECONDS = 20.0
_MATERIALIZED = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  ... on MaterializationEvent { timestamp } } } } }"""


@row("twelve-tables", order=10)
def twelve_tables(bench: Bench) -> Row:
    """Fetch 12 tables by the command line under the documented limits."""
    spec = _twelve(bench)
    what = [
        "snapshot",
        "--namespace",
        NAMESPACE,
        "--table",
        ",".join(_KNOWN),
        "--format",
        "parquet",
    ]
    to = ["--output-directory", str(bench.scratch / "run")]
    turns = take_turns(
        [
            Contender("snapshot", lambda: _limited(spec, bench, [*OURS, *what, *to])),
            Contender(
                "official client",
                lambda: _limited(spec, bench, [official_dap(), "--no-tracking", *what, *to]),
            ),
        ],
        bench.rounds(5),
    )
    least = bound([_JOB_SECONDS] * len(_KNOWN))
    return Row(
        "12 tables, jobs of 20 s, real limits, command line",
        turns.contenders,
        [
            Figure.of_value(
                f"time against the {least:.0f} s that the limits allow",
                turns.seconds("snapshot") / least,
                "x",
                at_most(1.05),
            ),
            turns.ratio("snapshot", "official client"),
        ],
        turns.rounds,
        turns.service_share,
    )


@row("twelve-assets", order=11)
def twelve_assets(bench: Bench) -> Row:
    """Materialize 12 tables with Dagster under the documented limits."""
    spec = _twelve(bench)
    turns = take_turns(
        [Contender("Dagster run", lambda: _dagster_run(spec, bench))], bench.rounds(5)
    )
    least = bound([_JOB_SECONDS] * len(_KNOWN))
    return Row(
        "12 tables, jobs of 20 s, real limits, Dagster from launch to the last materialization",
        turns.contenders,
        [
            Figure.of_value(
                f"time against the {least:.0f} s that the limits allow",
                turns.seconds("Dagster run") / least,
                "x",
                at_most(1.2),
            )
        ],
        turns.rounds,
        turns.service_share,
    )


def _twelve(bench: Bench) -> ServiceSpec:
    file = plain_file(bench.scratch / "files")
    tables = tuple(ReadyTable(name, (file,), _JOB_SECONDS) for name in _KNOWN)
    return ServiceSpec(bench.scratch / "service", tables, limits=True)


def _limited(spec: ServiceSpec, bench: Bench, command: Sequence[str]) -> Taken:
    """Run a command against a service that has seen nobody yet."""
    with _fresh(spec, bench) as service:
        folder = bench.scratch / "run"
        return timed(command, service.environment(bench.scratch / "data"), folder, service)


def _fresh(spec: ServiceSpec, bench: Bench) -> AbstractContextManager[RunningService]:
    for name in ("service", "run", "data"):
        shutil.rmtree(bench.scratch / name, ignore_errors=True)
    (bench.scratch / "run").mkdir()
    return running_service(spec)


def _dagster_run(spec: ServiceSpec, bench: Bench) -> Taken:
    with _fresh(spec, bench) as service:
        environment = service.environment(bench.scratch / "data")
        with dev(bench.scratch / "run", environment) as ui:
            before, began = service.cpu_seconds(), time.time()
            run_id = ui.launch(*((NAMESPACE, table) for table in _KNOWN))
            ended = ui.ended(run_id, 600)
            if ended != "SUCCESS":
                raise RuntimeError(f"the run ended with {ended}")
            seconds = _last_materialization(ui, run_id) - began
            share = (service.cpu_seconds() - before) / (time.time() - began) / 2
        return Taken(seconds, service_share=share)


def _last_materialization(ui: Ui, run_id: str) -> float:
    """Give the time of the run's last materialization, in seconds since 1970."""
    events = ui.ask(_MATERIALIZED, id=run_id)["logsForRun"]["events"]
    return max(float(event["timestamp"]) for event in events if event) / 1000


@row("many-jobs", order=20)
def many_jobs(bench: Bench) -> Row:
    """Run the jobs of 119 tables in time that passes 20 times faster."""
    scale, jobs = 20.0, mixed_jobs(119)
    tables = tuple(
        ReadyTable(name, (), seconds / scale)
        for name, seconds in zip(numbered(len(jobs)), jobs, strict=True)
    )
    spec = ServiceSpec(bench.scratch / "service", tables, limits=True, time_scale=scale)
    refused = 0

    def run() -> Taken:
        nonlocal refused
        with _fresh(spec, bench) as service:
            folder = bench.scratch / "run"
            program = [sys.executable, "-m", "benchmarks.scaled_jobs"]
            told = [f"{scale:g}", str(len(jobs)), "10", str(folder)]
            environment = service.environment(bench.scratch / "data")
            taken = timed([*program, *told], environment, folder, service)
            refused += service.rate_limited()
        return taken

    turns = take_turns([Contender("pipeline's pacing", run)], bench.rounds(5))
    least = bound(jobs) / scale
    return Row(
        f"119 tables, jobs of 5 to 120 s, time scaled {scale:g} times",
        turns.contenders,
        [
            Figure.of_value(
                f"time against the {least:.1f} s that the limits allow",
                turns.seconds("pipeline's pacing") / least,
                "x",
                at_most(1.05),
            ),
            Figure.of_value("calls answered with 429", refused, ""),
        ],
        turns.rounds,
        turns.service_share,
        "starting Python is part of the time and is not scaled.",
    )
