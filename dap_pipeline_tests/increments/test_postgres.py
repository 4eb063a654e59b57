"""Instructure's own client replicates the school into PostgreSQL, which then judges.

First the judge is judged: what it holds is what the service has. Then our lake, loaded after the
same steps, holds what PostgreSQL holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import LoadMode
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.life import Bump, Life, Truth
from dap_pipeline.sandbox.life.evolution import DEFAULT_NUMBER
from dap_pipeline.sandbox.serve import RunningSandbox, running_sandbox

from .judging import Rows, differences, expected, with_addresses
from .postgres import Postgres
from .replica import Replica
from .walking import rows_of, settings_for, table_name

pytestmark = [pytest.mark.slow, pytest.mark.begun_first]

WEB_LOGS = "canvas_logs.web_logs"
# Every type and every form of key that the shipped tables have. The client takes one second for
# each table and step, so it does not replicate all.
TABLES = (
    "canvas.assignments",  # arrays of an enum, dates, nested objects
    "canvas.content_tags",
    "canvas.enrollment_states",  # another key than id
    "canvas.favorites",  # hard deletes and keys that come back, by themselves
    "canvas.submissions",
    "canvas.users",
    "catalog.orders",
    "catalog.products",  # decimals
    WEB_LOGS,
)
# The client demands that these are dropped and fetched anew. It cannot have a key that changed:
# it makes the first field alone the primary key.
RELOADED = ("canvas.favorites", "canvas.submissions")
BUMPS = {
    "canvas.assignments": (Bump.COLUMN_ADDED, Bump.ENUM_MEMBER_ADDED),
    "canvas.content_tags": (Bump.COLUMN_REMOVED, Bump.TEXT_LENGTHENED),
    "canvas.favorites": (Bump.REQUIRED_COLUMN_ADDED,),
    "canvas.submissions": (Bump.INTEGER_WIDENED, Bump.ENUM_MEMBER_ADDED),
    "canvas.users": (Bump.COLUMN_ADDED, Bump.COLUMN_REMOVED),
    "catalog.products": (Bump.REQUIRED_COLUMN_ADDED, Bump.INTEGER_WIDENED),
}


def life_as_usual(school: RunningSandbox) -> None:
    school.advance()


def rows_of_all_kinds(school: RunningSandbox, life: Life | None = None) -> None:
    life = life or school.life
    for name in TABLES:
        life.insert(name, 5)
        if name == WEB_LOGS:
            life.deliver_again(name, 8)
            continue
        life.update(name, 6)
        life.delete(name, 4)
        life.bury(name, 2)


def extreme_values(school: RunningSandbox) -> None:
    service = school.service
    rows_of_all_kinds(school, Life(service.store, service.clock, seed=2, extreme=True))


def new_schemas(school: RunningSandbox) -> None:
    for name, bumps in BUMPS.items():
        for bump in bumps:
            school.life.bump(name, bump)
        school.life.insert(name, 4)
        school.life.update(name, 4)


def deleted_keys_come_back(school: RunningSandbox) -> None:
    for name in TABLES:
        if name != WEB_LOGS:
            school.life.revive(name, 3)
            school.life.delete(name, 2)


def reloaded_tables(school: RunningSandbox) -> None:
    rows_of_all_kinds(school)
    for name in RELOADED:
        school.life.reload(name)


STEPS: tuple[Callable[[RunningSandbox], None], ...] = (
    life_as_usual,
    rows_of_all_kinds,
    deleted_keys_come_back,
    new_schemas,
    reloaded_tables,
    life_as_usual,
    extreme_values,
)
# The increment of a table that was quiet is the same query again: for 24 hours, DAP answers it with
# the same empty job, and the client has no way round that. After a step in which every table has
# changed, it need not wait.
SOON = {deleted_keys_come_back}


@pytest.fixture
def school(tmp_path: Path) -> Iterator[RunningSandbox]:
    config = SandboxConfig(
        tmp_path / "school", rate_limits=False, rows=12_000, job_polls=0, rows_per_part=400
    )
    with running_sandbox(config) as running:
        yield running


class Judge:
    """What the tables must hold; of web_logs also what DAP has dropped since."""

    def __init__(self, school: RunningSandbox) -> None:
        self._school = school
        self._logs: dict[tuple[object, ...], tuple[object, ...]] = {}

    def wanted(self) -> Mapping[str, tuple[Truth, Rows]]:
        found = {}
        for name in TABLES:
            truth = self._school.truth(name)
            rows = expected(truth)
            if name == WEB_LOGS:
                self._logs |= rows
                rows = dict(self._logs)
            found[name] = truth, rows
        return found


def in_our_lake(engine: Engine, name: str, truth: Truth, in_postgres: Rows) -> Rows:
    """Read our view of a table as far as PostgreSQL has it: there is no `meta_ts` in it.

    In rows from before a required column was added, the client writes the default that the schema
    names, while the lake has NULL until the next snapshot.
    """
    published = engine.lake.table(table_name(name))
    assert published is not None
    later = {n for n, field in enumerate(truth.fields) if field.name.startswith("required_")}
    with duckdb.connect() as connection:
        rows = rows_of(connection, published, truth)
    return {
        key: tuple(
            DEFAULT_NUMBER if n in later and value is None and key in in_postgres else value
            for n, value in enumerate(row[:-1])
        )
        for key, row in rows.items()
    }


@pytest.mark.timeout(600)
def test_the_official_client_the_service_and_our_lake_agree_on_every_value(
    official_dap: Path, school: RunningSandbox, postgres: Postgres, tmp_path: Path
) -> None:
    replica = Replica(official_dap, school, postgres, tmp_path)
    judge = Judge(school)
    replica.init(TABLES)
    with ExitStack() as stack:
        engines = [
            stack.enter_context(
                Engine.open(settings_for(school, tmp_path / "data", source_format=source))
            )
            for source in ("parquet", "jsonl")
        ]
        for number, step in enumerate((None, *STEPS)):
            engine = engines[number % 2]
            if step is not None:
                school.service.clock.advance(timedelta(hours=4 if step in SOON else 25))
                step(school)
                afresh = RELOADED if step is reloaded_tables else ()
                if afresh:
                    replica.drop(afresh)
                    replica.init(afresh)
                replica.sync([name for name in TABLES if name not in afresh])
            for name, (truth, wanted) in judge.wanted().items():
                assert wanted, name
                when = f"{name} after {step.__name__ if step else 'the snapshot'}"
                there = replica.rows(name, truth)
                assert differences(there, with_addresses(wanted)) == [], when
                for _ in range(2 if step is rows_of_all_kinds else 1):
                    # The second has nothing new, hours before there is something.
                    engine.load(table_name(name), mode=LoadMode.AUTO)
                ours = with_addresses(in_our_lake(engine, name, truth, there))
                assert differences(ours, there) == [], f"our {when}"
