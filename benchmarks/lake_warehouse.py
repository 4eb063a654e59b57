"""Rows about what is done with all tables at once: register them, query them, load the code."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path

import duckdb

from benchmarks.harness import Bench, Figure, Row, Taken, Turns, at_most, row
from benchmarks.lake_parts import TABLE, make_parts
from dap_pipeline.dap.models import TableName, VersionedSchema
from dap_pipeline.lake.columns import shape_of
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.rewrite import RewriteOptions, rewrite
from dap_pipeline.lake.sql import literals
from dap_pipeline.lake.tables import Lake, NewLoad
from dap_pipeline.settings import SourceFormat
from dap_pipeline.warehouse.build import build_warehouse

_AT = datetime(2026, 11, 20, 8, tzinfo=UTC)
_ROWS = 100_000


def publish_all(folder: Path) -> Lake:
    """Publish every table of the shipped catalogue, all but one of them without rows."""
    parts = make_parts(folder / "parts", SourceFormat.PARQUET, parts=1, rows=_ROWS)
    lake = Lake(folder / "lake")
    for namespace in resources.files("dap_pipeline.schemas").iterdir():
        if namespace.is_dir() and not namespace.name.startswith("_"):
            for file in namespace.iterdir():
                name = TableName(namespace.name, file.name.removesuffix(".json"))
                schema = VersionedSchema.model_validate(json.loads(file.read_text()))
                _publish(lake, name, schema, parts if str(name) == TABLE else [], folder)
    return lake


def _publish(
    lake: Lake, name: TableName, schema: VersionedSchema, parts: list[Path], folder: Path
) -> None:
    shape = shape_of(schema)
    tidy = rewrite(
        parts,
        shape,
        source=SourceFormat.PARQUET,
        kind=LoadKind.SNAPSHOT,
        target=folder / "tidy.parquet",
        options=RewriteOptions("400MB", 2, folder / "spill"),
    )
    load = NewLoad(
        kind=LoadKind.SNAPSHOT,
        job_id=str(name),
        schema_version=schema.version,
        at=_AT,
        since=None,
        base_version=None,
    )
    lake.publish(name, shape, [tidy], load)


@row("warehouse", order=230)
def warehouse(bench: Bench) -> Row:
    """Build the DuckDB file over all tables, and ask a view its first question."""
    lake = publish_all(bench.disk)
    file = bench.disk / "warehouse.duckdb"
    rounds = bench.rounds(5)
    builds = [_taken(lambda: build_warehouse(lake, file)) for _ in range(rounds)]
    files = literals(
        [str(path) for path in sorted((lake.root / "canvas/submissions").glob("*.parquet"))]
    )
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
    return Row(
        f"warehouse of {len(lake.tables())} tables",
        turns.contenders,
        [
            Figure.of_value("built", turns.seconds("warehouse built"), "s", at_most(2, "s")),
            Figure.of_value("first query, more than bare", more * 1000, "ms", at_most(50, "ms")),
        ],
        rounds,
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
