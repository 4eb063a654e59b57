"""Modes in the launchpad and in the schedules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.records import LoadMode
from dap_pipeline.orchestration.schedules import (
    build_schedules,
    run_config_of,
    snapshot_is_due,
)
from dap_pipeline.orchestration.wiring import build_definitions
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import load_settings

from .school import USERS, definitions_for, failures_of, materialize, settings_for, small_sandbox
from .school import words_of as failure_words

FOUR_HOURS = timedelta(hours=4)
USERS_TABLE = TableName("canvas", "users")


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
    definitions: dg.Definitions, instance: dg.DagsterInstance, mode: LoadMode
) -> dict[str, object]:
    """Materialize the users, and give the metadata as plain values."""
    config = run_config_of({USERS_TABLE: mode})
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


def test_a_quiet_table_has_counts_of_nothing(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    materialized(definitions, instance, LoadMode.AUTO)
    found = materialized(definitions, instance, LoadMode.AUTO)
    assert found["outcome"] == "unchanged"
    counts = [found[f"rows_{what}"] for what in ("inserted", "updated", "deleted", "unchanged")]
    assert counts == [0, 0, 0, 0]


def test_each_table_is_due_once_in_a_span_and_no_turn_takes_all() -> None:
    names = list(load_catalogue().names("canvas"))
    start = datetime(2026, 11, 23, 0, 7, tzinfo=UTC)
    every = timedelta(days=30)
    turns = [start + FOUR_HOURS * number for number in range(180)]
    due = [[n for n in names if snapshot_is_due(n, at, FOUR_HOURS, every)] for at in turns]
    assert Counter(name for found in due for name in found) == Counter(names)
    days = [sum(map(len, due[day : day + 6])) for day in range(0, 180, 6)]
    assert max(days) <= len(names) // 6


def test_without_a_span_no_table_is_due() -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    assert not snapshot_is_due(USERS_TABLE, at, FOUR_HOURS, timedelta())


def test_the_schedules_follow_the_rhythm_of_each_namespace() -> None:
    schedules = build_schedules(load_catalogue(), load_settings())
    crons = {schedule.name: schedule.cron_schedule for schedule in schedules}
    assert crons == {
        "refresh_canvas_every_4_hours": "7 */4 * * *",
        "refresh_canvas_logs_daily": "20 3 * * *",
        "refresh_catalog_every_4_hours": "33 */4 * * *",
    }


def test_a_scheduled_run_takes_changes_and_the_snapshots_that_are_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DAP_CLIENT_ID", "DAP_CLIENT_SECRET"):
        monkeypatch.setenv(name, "made-up")
    definitions = build_definitions(load_settings(full_snapshot_every=timedelta(days=30)))
    schedule = definitions.resolve_schedule_def("refresh_canvas_every_4_hours")
    names = load_catalogue().names("canvas")
    start = datetime(2026, 11, 23, 0, 7, tzinfo=UTC)
    at = next(
        at
        for at in (start + FOUR_HOURS * number for number in range(180))
        if any(snapshot_is_due(name, at, FOUR_HOURS, timedelta(days=30)) for name in names)
    )
    context = dg.build_schedule_context(scheduled_execution_time=at)
    (request,) = schedule.evaluate_tick(context).run_requests or ()
    modes = Counter(op["config"]["mode"] for op in request.run_config["ops"].values())
    assert modes["snapshot"] >= 1
    assert modes["auto"] == len(names) - modes["snapshot"]
    # Dagster takes the configuration for the job as it is.
    dg.validate_run_config(definitions.resolve_job_def("refresh_canvas"), request.run_config)
