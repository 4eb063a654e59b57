"""Single tables change at random, and the service tells what is true then."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests

from dap_pipeline.sandbox.clock import instant_text
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.life import Bump, Life
from dap_pipeline.sandbox.school.catalogue import shipped_tables
from dap_pipeline.sandbox.serve import RunningSandbox, running_sandbox
from dap_pipeline.sandbox.store import Store

from . import small_school
from .caller import Caller
from .small_school import TEXT, table_schema

INTEGER = {"type": "integer", "format": "int64"}
USERS = "canvas.users"
COMPOSITE = "canvas.composite"
WEB_LOGS = "canvas_logs.web_logs"


@contextmanager
def _school(config: SandboxConfig) -> Iterator[RunningSandbox]:
    key = {"region": TEXT, "number": INTEGER}
    with small_school.running(config) as running:
        store = running.service.store
        store.create_table("canvas", "composite", table_schema(key, {"note": TEXT}))
        yield running


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    with _school(SandboxConfig(tmp_path / "sandbox", rate_limits=False, job_polls=0)) as running:
        yield running


@pytest.mark.parametrize("name", [USERS, COMPOSITE])
def test_rows_come_change_go_and_come_back(sandbox: RunningSandbox, name: str) -> None:
    life, start = sandbox.life, sandbox.truth(name).rows
    inserted = set(life.insert(name, 9).keys)
    assert sandbox.truth(name).rows.keys() == start.keys() | inserted
    before = sandbox.truth(name).rows
    updated = set(life.update(name, 3).keys)
    now = sandbox.truth(name).rows
    assert {key for key in now if now[key][-1] != before[key][-1]} == updated
    deleted = set(life.delete(name, 4).keys)
    assert sandbox.truth(name).rows.keys() == before.keys() - deleted
    revived = set(life.revive(name, 2).keys)
    assert len(revived) == 2
    assert revived <= deleted
    assert sandbox.truth(name).rows.keys() == before.keys() - (deleted - revived)
    buried = set(life.bury(name, 2).keys)
    assert not buried & before.keys()


def test_every_commit_is_later_than_the_one_before(sandbox: RunningSandbox) -> None:
    changes = [sandbox.life.insert(USERS) for _ in range(20)]
    times = [change.at for change in changes]
    assert times == sorted(set(times))
    assert sandbox.truth(USERS).at == times[-1]


def test_the_same_seed_gives_the_same_rows(tmp_path: Path) -> None:
    rows = []
    for number in range(2):
        with _school(SandboxConfig(tmp_path / f"{number}")) as running:
            life = Life(running.service.store, running.service.clock, seed=7, extreme=True)
            life.insert(COMPOSITE, 5)
            life.update(USERS, 5)
            truths = [running.truth(name).rows for name in (COMPOSITE, USERS)]
            rows.append([{key: row[:-1] for key, row in each.items()} for each in truths])
    assert rows[0] == rows[1]


def test_values_fit_every_shipped_schema(tmp_path: Path) -> None:
    def build(store: Store, as_of: datetime) -> None:
        for table in shipped_tables().values():
            store.create_table(table.namespace, table.short_name, dict(table.schema))

    with running_sandbox(SandboxConfig(tmp_path), build=build) as running:
        life = Life(running.service.store, running.service.clock, extreme=True)
        for name, table in shipped_tables().items():
            life.insert(name, 20)
            truth = running.truth(name)
            assert len(truth.rows) == 20
            columns = {column.name: column for column in table.columns}
            for row in truth.rows.values():
                for field, value in zip(truth.fields, row, strict=False):
                    column = columns.get(field.name)
                    assert value is not None or not field.required, (name, field.name)
                    if column and column.members and isinstance(value, str):
                        assert value in column.members or column.max_length, (name, field.name)


def test_an_increment_brings_what_was_done(sandbox: RunningSandbox) -> None:
    since = sandbox.truth(USERS).at
    inserted, updated = sandbox.life.insert(USERS, 2).keys, sandbox.life.update(USERS, 3).keys
    deleted = sandbox.life.delete(USERS, 2).keys
    caller = Caller(sandbox)
    job = caller.ended_job("users", format="csv", since=instant_text(since))
    rows = list(csv.DictReader(io.StringIO(caller.text(job), newline="")))
    assert job["until"] == instant_text(sandbox.truth(USERS).at)
    told = {(int(row["key.id"]),): row["meta.action"] for row in rows}
    assert {key for key, action in told.items() if action == "D"} == set(deleted)
    assert told.keys() == {*inserted, *updated, *deleted}


@pytest.mark.parametrize("bump", list(Bump))
def test_a_new_schema_version_is_told_and_kept(sandbox: RunningSandbox, bump: Bump) -> None:
    name = "canvas.submissions"
    schema = dict(shipped_tables()[name].schema)
    sandbox.service.store.create_table("canvas", "submissions", schema)
    sandbox.life.insert(name, 3)
    before = sandbox.truth(name)
    change = sandbox.life.bump(name, bump)
    answer = Caller(sandbox).get("/dap/query/canvas/table/submissions/schema").json()
    truth = sandbox.truth(name)
    assert answer["version"] == truth.version == before.version + 1
    assert change.field
    in_schema = {name for part in ("key", "value") for name in _fields(answer["schema"], part)}
    assert (change.field in in_schema) == (bump is not Bump.COLUMN_REMOVED)
    assert len(truth.rows) == 3
    assert (truth.at > before.at) == (bump is Bump.KEY_CHANGED)
    if bump is Bump.REQUIRED_COLUMN_ADDED:
        assert {row[-2] for row in truth.rows.values()} == {7}
    sandbox.life.insert(name, 2)
    assert Caller(sandbox).ended_job("submissions", format="tsv")["schema_version"] == 2


def _fields(schema: dict[str, dict[str, dict[str, dict[str, object]]]], part: str) -> set[str]:
    return set(schema["properties"][part]["properties"])


def test_a_name_that_is_used_again_and_a_key_of_another_type_are_told(
    sandbox: RunningSandbox,
) -> None:
    before = sandbox.truth(USERS)
    at = [field.name for field in before.fields].index("name")
    assert any(row[at] is not None for row in before.rows.values())
    sandbox.life.redefine(USERS, "name", {"type": "integer", "format": "int64"})
    truth = sandbox.truth(USERS)
    assert truth.version == before.version + 1
    assert truth.rows.keys() == before.rows.keys()
    at = [field.name for field in truth.fields].index("name")
    assert {row[at] for row in truth.rows.values()} == {None}
    sandbox.life.redefine(USERS, "id", {"type": "string"})
    assert sandbox.truth(USERS).rows.keys() == {(str(key),) for (key,) in before.rows}
    sandbox.life.insert(USERS, 1)
    job = Caller(sandbox).ended_job("users", format="tsv")
    assert job["schema_version"] == before.version + 2


def test_a_change_that_no_field_can_have_is_refused(sandbox: RunningSandbox) -> None:
    before = sandbox.truth(COMPOSITE)
    with pytest.raises(ValueError, match="no field for this: integer widened"):
        sandbox.life.bump(COMPOSITE, Bump.INTEGER_WIDENED)
    assert sandbox.truth(COMPOSITE) == before
    with pytest.raises(LookupError):
        sandbox.life.insert("canvas.coarses")


def test_after_a_reload_a_new_snapshot_is_asked_for(sandbox: RunningSandbox) -> None:
    before = sandbox.truth(USERS)
    lost = sandbox.life.reload(USERS).keys
    assert lost
    assert sandbox.truth(USERS).rows.keys() == before.rows.keys() - set(lost)
    query = {"format": "csv", "since": instant_text(before.at)}
    error = Caller(sandbox).data("users", query).json()["error"]
    assert error["type"] == "SnapshotRequiredError"
    assert error["since"] == instant_text(sandbox.truth(USERS).at)


def test_logs_come_twice_in_one_answer_and_again_in_the_next(sandbox: RunningSandbox) -> None:
    first = sandbox.life.insert(WEB_LOGS, 6)
    again = sandbox.life.deliver_again(WEB_LOGS, 4)
    caller = Caller(sandbox)
    job = caller.ended_job("web_logs", "canvas_logs", format="csv", since=instant_text(first.at))
    rows = csv.DictReader(io.StringIO(caller.text(job), newline=""))
    ids = [row["key.id"] for row in rows]
    assert {(each,) for each in ids} == set(again.keys)
    assert len(ids) == 6
    assert len(sandbox.truth(WEB_LOGS).rows) == 3 + 6
    with pytest.raises(ValueError, match="written once"):
        sandbox.life.update(WEB_LOGS)
    with pytest.raises(ValueError, match="unique"):
        sandbox.life.deliver_again(USERS)


def test_logs_of_more_than_thirty_days_are_dropped(sandbox: RunningSandbox) -> None:
    old = sandbox.truth(WEB_LOGS).rows
    assert old
    sandbox.service.clock.advance(timedelta(days=31))
    new = sandbox.life.insert(WEB_LOGS, 2)
    assert set(sandbox.truth(WEB_LOGS).rows) == set(new.keys)
    assert not old.keys() & set(new.keys)


def test_changes_are_made_over_http_by_who_knows_the_credentials(sandbox: RunningSandbox) -> None:
    url, body = f"{sandbox.url}/sandbox/change", {"table": USERS, "change": "insert", "rows": 3}
    before = len(sandbox.truth(USERS).rows)
    assert requests.post(url, json=body, timeout=30).status_code == 401
    owner = (sandbox.client_id, sandbox.client_secret)
    answer = requests.post(url, json=body, auth=owner, timeout=30).json()
    assert answer == {"at": instant_text(sandbox.truth(USERS).at), "keys": 3, "field": ""}
    assert len(sandbox.truth(USERS).rows) == before + 3
    body = {"table": USERS, "change": "column_added"}
    assert requests.post(url, json=body, auth=owner, timeout=30).json()["field"] == "added_4"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"table": "canvas.coarses", "change": "insert"}, 404),
        ({"table": "coarses", "change": "insert"}, 404),
        ({"table": USERS, "change": "explode"}, 400),
        ({"table": USERS, "change": "insert", "rows": -1}, 400),
        ({"table": USERS}, 400),
        ({"table": WEB_LOGS, "change": "update"}, 400),
        ([], 400),
    ],
)
def test_a_senseless_change_is_refused(sandbox: RunningSandbox, body: object, status: int) -> None:
    before = sandbox.truth(USERS)
    assert Caller(sandbox).post("/sandbox/change", body).status_code == status
    assert sandbox.truth(USERS) == before


def test_answers_carry_the_date_of_the_service(sandbox: RunningSandbox) -> None:
    sandbox.service.clock.advance(timedelta(days=100))
    caller = Caller(sandbox)
    job = caller.ended_job("users", format="csv")
    for answer in (
        caller.get("/dap/query/canvas/table"),
        requests.get(caller.links(job)[0], timeout=30),
    ):
        told = parsedate_to_datetime(answer.headers["date"])
        assert timedelta() <= sandbox.service.clock.now() - told < timedelta(seconds=30)
        assert told - datetime.now(UTC) > timedelta(days=99)


@pytest.mark.slow
def test_the_made_up_school_goes_on_after_changes(tmp_path: Path) -> None:
    with running_sandbox(SandboxConfig(tmp_path, rows=5000)) as running:
        for name in ("canvas.courses", "canvas.submissions"):
            for bump in Bump:
                running.life.bump(name, bump)
            running.life.insert(name, 4)
            running.life.delete(name, 2)
        before = running.truth("canvas.submissions")
        running.advance(steps=2)
        after = running.truth("canvas.submissions")
        assert after.at > before.at
        assert after.version == 1 + len(Bump)
        assert after.rows.keys() - before.rows.keys()
