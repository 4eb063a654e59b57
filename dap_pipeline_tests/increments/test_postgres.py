"""Instructure's own client replicates the school into PostgreSQL, which then judges.

First the judge is judged: what it holds is what the service has. Then our lake, loaded after the
same steps, holds what PostgreSQL holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

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

pytestmark = pytest.mark.slow

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


STEPS: tuple[Callable[[RunningSandbox], None], ...] = (
    life_as_usual,
    rows_of_all_kinds,
    new_schemas,
    deleted_keys_come_back,
    life_as_usual,
    extreme_values,
)


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
    return {
        key: tuple(
            DEFAULT_NUMBER if n in later and value is None and key in in_postgres else value
            for n, value in enumerate(row[:-1])
        )
        for key, row in rows_of(published, truth).items()
    }


@pytest.mark.timeout(600)
def test_the_official_client_the_service_and_our_lake_agree_on_every_value(
    official_dap: Path, school: RunningSandbox, postgres: Postgres, tmp_path: Path
) -> None:
    replica = Replica(official_dap, school, postgres, tmp_path)
    judge = Judge(school)
    replica.init(TABLES)
    with Engine.open(settings_for(school, tmp_path / "data")) as engine:
        for step in (None, *STEPS):
            if step is not None:
                # The increment of a table that was quiet is the same query again: for 24 hours,
                # DAP would answer it with the same empty job.
                school.service.clock.advance(timedelta(hours=25))
                step(school)
                replica.sync(TABLES)
            for name, (truth, wanted) in judge.wanted().items():
                assert wanted, name
                when = f"{name} after {step.__name__ if step else 'the snapshot'}"
                there = replica.rows(name, truth)
                assert differences(there, with_addresses(wanted)) == [], when
                engine.load(table_name(name), mode=LoadMode.AUTO)
                ours = with_addresses(in_our_lake(engine, name, truth, there))
                assert differences(ours, there) == [], f"our {when}"
