"""Modes in the launchpad and in the schedules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.records import LoadMode
from dap_pipeline.lake.tables import Lake
from dap_pipeline.orchestration.naming import op_of
from dap_pipeline.orchestration.schedules import build_schedules, run_config_of
from dap_pipeline.orchestration.turns import Turns
from dap_pipeline.orchestration.wiring import build_definitions
from dap_pipeline.sandbox.errors import ApiError
from dap_pipeline.sandbox.faults import ALWAYS, Fault, Faults
from dap_pipeline.sandbox.faults_answers import made
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import load_settings
from dap_pipeline_tests.lake.loading import publish

from .school import USERS, definitions_for, failures_of, materialize, settings_for, small_sandbox
from .school import words_of as failure_words

FOUR_HOURS = timedelta(hours=4)
MONTH = timedelta(days=30)
TURNS = Turns(FOUR_HOURS, MONTH)
USERS_TABLE = TableName("canvas", "users")
COURSES_TABLE = TableName("canvas", "courses")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    with small_sandbox(tmp_path / "sandbox") as running:
        yield running


@pytest.fixture
def definitions(
    sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dg.Definitions:
    return definitions_for(settings_for(sandbox, tmp_path), monkeypatch)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


def materialized(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    mode: LoadMode,
    *,
    or_auto: bool = False,
) -> dict[str, object]:
    """Materialize the users, and give the metadata as plain values."""
    config = run_config_of({USERS_TABLE: mode}, or_auto=or_auto)
    result = materialize(definitions, [USERS], instance, config)
    assert result.success
    (event,) = result.asset_materializations_for_node("canvas__users")
    return {name: value.value for name, value in event.metadata.items()}


def test_the_button_takes_a_snapshot(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    result = materialize(definitions, [USERS], instance)
    (event,) = result.asset_materializations_for_node("canvas__users")
    assert event.metadata["mode"].value == event.metadata["kind"].value == "snapshot"


def test_a_run_in_auto_mode_counts_what_changed(
    definitions: dg.Definitions, instance: dg.DagsterInstance, sandbox: RunningSandbox
) -> None:
    first = materialized(definitions, instance, LoadMode.AUTO)
    assert (first["kind"], first["reason"]) == ("snapshot", "the table was not in the lake yet")
    sandbox.service.clock.advance(FOUR_HOURS)
    sandbox.life.bump("canvas.users", Bump.COLUMN_ADDED)
    sandbox.life.update("canvas.users", 3)
    sandbox.life.delete("canvas.users", 2)
    found = materialized(definitions, instance, LoadMode.AUTO)
    names = ["kind", "mode", "rows_inserted", "rows_updated", "rows_deleted", "rows_unchanged"]
    assert [found[name] for name in names[:2]] == ["incremental", "auto"]
    inserted, updated, deleted, _ = (found[name] for name in names[2:])
    assert (inserted, deleted) == (0, 2)
    assert updated in (1, 2, 3)  # what is updated may be deleted at once
    assert found["since"] == first["until"]
    assert "| added |" in str(found["schema_changes"])
    assert "3 → 4" in str(found["schema_changes"])


def test_only_changes_without_a_base_fail_and_say_what_to_do(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    config = run_config_of({USERS_TABLE: LoadMode.INCREMENTAL})
    result = materialize(definitions, [USERS], instance, config)
    (failure,) = failures_of(instance, result.run_id).values()
    assert "--mode snapshot" in failure_words(failure)


def test_a_turn_as_a_snapshot_that_dap_forbids_takes_what_changed(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults()
    with small_sandbox(tmp_path / "school", faults) as sandbox:
        definitions = definitions_for(settings_for(sandbox, tmp_path), monkeypatch)
        materialized(definitions, instance, LoadMode.AUTO)
        sandbox.service.clock.advance(FOUR_HOURS)
        sandbox.life.insert("canvas.users", 2)
        refused = made(ApiError(403, "RequestTypeForbidden", "No snapshots.").response)
        faults.switch_on(Fault(refused, (Endpoint.DATA,), times=ALWAYS, increments=False))
        found = materialized(definitions, instance, LoadMode.SNAPSHOT, or_auto=True)
        assert (found["mode"], found["kind"], found["rows_inserted"]) == ("auto", "incremental", 2)
        result = materialize(
            definitions, [USERS], instance, run_config_of({USERS_TABLE: LoadMode.SNAPSHOT})
        )
        (failure,) = failures_of(instance, result.run_id).values()
        assert "No snapshots" in failure_words(failure)


def test_a_quiet_table_has_counts_of_nothing(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    materialized(definitions, instance, LoadMode.AUTO)
    found = materialized(definitions, instance, LoadMode.AUTO)
    assert found["outcome"] == "unchanged"
    counts = [found[f"rows_{what}"] for what in ("inserted", "updated", "deleted", "unchanged")]
    assert counts == [0, 0, 0, 0]


def test_the_schedules_follow_the_rhythm_of_each_namespace() -> None:
    schedules = build_schedules(load_catalogue(), load_settings())
    crons = {schedule.name: schedule.cron_schedule for schedule in schedules}
    assert crons == {
        "refresh_canvas_every_4_hours": "7 */4 * * *",
        "refresh_canvas_logs_daily": "20 3 * * *",
        "refresh_catalog_every_4_hours": "33 */4 * * *",
    }


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake of two tables, each with a snapshot of just now."""
    lake = Lake(tmp_path / "data" / "lake")
    work = tmp_path / "work"
    work.mkdir()
    for name in (USERS_TABLE, COURSES_TABLE):
        publish(lake, work, f"job-{name.table}", [{"a": "x"}], name=name)
    return lake


def snapshots_at(
    at: datetime, lake: Lake, monkeypatch: pytest.MonkeyPatch, every: timedelta = MONTH
) -> list[str]:
    """Let the schedule of canvas tick, and tell the tables that it takes as snapshots."""
    for name in ("DAP_CLIENT_ID", "DAP_CLIENT_SECRET"):
        monkeypatch.setenv(name, "made-up")
    data_dir = lake.root.parent
    definitions = build_definitions(load_settings(data_dir=data_dir, full_snapshot_every=every))
    schedule = definitions.resolve_schedule_def("refresh_canvas_every_4_hours")
    context = dg.build_schedule_context(scheduled_execution_time=at)
    (request,) = schedule.evaluate_tick(context).run_requests or ()
    # Dagster takes the configuration for the job as it is.
    dg.validate_run_config(definitions.resolve_job_def("refresh_canvas"), request.run_config)
    modes = {name: op["config"]["mode"] for name, op in request.run_config["ops"].items()}
    assert len(modes) == len(load_catalogue().names("canvas"))
    assert set(modes.values()) <= {"snapshot", "auto"}
    assert all(op["config"]["or_auto"] for op in request.run_config["ops"].values())
    return sorted(name for name, mode in modes.items() if mode == "snapshot")


def tick(name: TableName, days: int, *, own: bool) -> datetime:
    """Give the first tick after some days that is the table's turn, or another that may take it."""
    first = datetime.now(UTC) + timedelta(days=days)
    for number in range(TURNS.count):
        at = first + FOUR_HOURS * number
        if TURNS.is_for_overdue(name, at) and TURNS.is_own(name, at) == own:
            return at
    raise AssertionError("each table has a turn")


def test_a_tick_takes_changes_and_the_table_whose_turn_it_is(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = tick(USERS_TABLE, 16, own=True)
    assert snapshots_at(at, lake, monkeypatch, every=timedelta()) == []
    assert "canvas__users" in snapshots_at(at, lake, monkeypatch)
    soon = tick(USERS_TABLE, 0, own=False)
    assert snapshots_at(soon, lake, monkeypatch) == []


def test_a_tick_makes_up_for_a_turn_that_passed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (USERS_TABLE, COURSES_TABLE):
        at = tick(name, 31, own=False)
        assert op_of(name) in snapshots_at(at, lake, monkeypatch)


def test_a_lake_that_cannot_be_read_stops_no_schedule(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (lake.folder(USERS_TABLE) / "_delta_log").iterdir():
        file.write_text("no log")
    late = tick(USERS_TABLE, 31, own=False)
    assert "canvas__users" not in snapshots_at(late, lake, monkeypatch)
    at = tick(USERS_TABLE, 0, own=True)
    assert "canvas__users" in snapshots_at(at, lake, monkeypatch)
    told = capsys.readouterr().err
    assert "1 of 90 tables cannot be read in the lake" in told
    assert "canvas/users cannot be read as a table of this lake" in told


def test_tables_that_are_not_in_the_lake_take_their_snapshots_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = tick(USERS_TABLE, 0, own=True)
    assert snapshots_at(at, Lake(tmp_path / "data" / "lake"), monkeypatch) == []
