"""Rows about what is done with all tables at once: register them, query them, load the code."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path

import duckdb

from benchmarks.contenders import OURS, timed
from benchmarks.harness import Bench, Figure, Row, Taken, Turns, at_most, row
from benchmarks.lake_parts import TABLE
from dap_pipeline.lake.sql import literals
from dap_pipeline.lake.tables import Lake
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.serve import running_sandbox
from dap_pipeline.warehouse.build import build_warehouse

_ROWS, _INCREMENTS = 20_000, 3
_VERBS = (
    ["load", "--mode", "snapshot"],
    *(["load", "--mode", "auto"] for _ in range(_INCREMENTS)),
)


def loaded_school(folder: Path) -> Lake:
    """Load every table of a made-up school, and what changed in it day after day."""
    folder.mkdir(exist_ok=True)
    config = SandboxConfig(folder=folder / "school", rate_limits=False, job_polls=0, rows=_ROWS)
    with running_sandbox(config) as service:
        settings = {
            "DAP_API_URL": service.url,
            "DAP_CLIENT_ID": service.client_id,
            "DAP_CLIENT_SECRET": service.client_secret,
            "DAP_PIPELINE_DATA_DIR": str(folder / "data"),
            "DAP_PIPELINE_CREATES_PER_MINUTE": "1000000",
            "DAP_PIPELINE_LISTS_PER_MINUTE": "1000000",
            "DAP_PIPELINE_SCHEMAS_PER_MINUTE": "1000000",
            "DAP_PIPELINE_POLLS_PER_MINUTE": "1000000",
            "DAP_PIPELINE_LINKS_PER_MINUTE": "1000000",
        }
        for number, verb in enumerate(_VERBS):
            if number:
                service.advance(24)
            for namespace in _namespaces():
                what = ["--namespace", namespace, "--table", "all"]
                timed([*OURS, *verb, *what], settings, folder)
    return Lake(folder / "data" / "lake")


def _namespaces() -> list[str]:
    found = resources.files("dap_pipeline.schemas").iterdir()
    return [each.name for each in found if each.is_dir() and not each.name.startswith("_")]


@row("warehouse", order=230)
def warehouse(bench: Bench) -> Row:
    """Build the DuckDB file over all tables, and ask a view its first question."""
    lake = loaded_school(bench.disk / "school")
    tables = lake.tables()
    file = bench.disk / "warehouse.duckdb"
    rounds = bench.rounds(5)
    builds = [_taken(lambda: build_warehouse(lake, file, anew=True)) for _ in range(rounds)]
    asked = next(table for table in tables if str(table.name) == TABLE)
    files = literals([str(each.path) for each in asked.base])
    question = "SELECT workflow_state, count(*) FROM {} GROUP BY ALL"
    turns = Turns(
        {
            "warehouse built": builds,
            "first query of a view": [
                _taken(lambda: _ask(str(file), question.format(TABLE))) for _ in range(rounds)
            ],
            "first query of the files": [
                _taken(lambda: _ask(":memory:", question.format(f"read_parquet({files})")))
                for _ in range(rounds)
            ],
        }
    )
    more = turns.seconds("first query of a view") - turns.seconds("first query of the files")
    filled = sum(table.rows > 0 for table in tables)
    rows = sum(table.rows for table in tables)
    changed = sum(bool(lake.changes(table.name)) for table in tables)
    return Row(
        f"warehouse of {len(tables)} tables",
        turns.contenders,
        [
            Figure.of_value("built", turns.seconds("warehouse built"), "s", at_most(2, "s")),
            Figure.of_value("first query, more than bare", more * 1000, "ms", at_most(50, "ms")),
        ],
        rounds,
        note=f"{filled} of the tables have rows, {rows:,} in all, and "
        f"{changed} have recorded changes: a snapshot and {_INCREMENTS} increments were loaded.",
    )


@row("code-location", order=240)
def code_location(bench: Bench) -> Row:
    """Import the definitions of all tables, against a bare `import dagster`."""
    rounds = bench.rounds(5)
    taken: dict[str, list[Taken]] = {"import dagster": [], "definitions": []}
    programs = {
        "import dagster": "import dagster",
        "definitions": "from dap_pipeline.definitions import defs; defs.get_repository_def()",
    }
    for _ in range(rounds):
        for name, program in programs.items():
            taken[name].append(_taken(partial(_python, program, bench.scratch)))
    turns = Turns(taken)
    more = turns.seconds("definitions") - turns.seconds("import dagster")
    return Row(
        "code location of all tables loaded",
        turns.contenders,
        [Figure.of_value("more than `import dagster`", more, "s", at_most(1.5, "s"))],
        rounds,
    )


def _ask(database: str, question: str) -> None:
    with duckdb.connect(database, read_only=database != ":memory:") as connection:
        connection.execute(question).fetchall()


def _python(program: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, cwd=folder, capture_output=True)


def _taken(work: Callable[[], object]) -> Taken:
    began = time.perf_counter()
    work()
    return Taken(time.perf_counter() - began)
