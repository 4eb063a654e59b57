from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor

from dap_pipeline.dap.models import TableName
from dap_pipeline.orchestration.naming import view_key
from dap_pipeline.settings import Settings
from dap_pipeline_tests.sandbox import small_school

from .school import (
    NOTHING,
    USERS,
    WEB_LOGS,
    RefusedTable,
    definitions_for,
    failures_of,
    materialize,
    settings_for,
    small_sandbox,
    words_of,
)

VIEW_OF_USERS = view_key(TableName("canvas", "users"))
VIEW_OF_NOTHING = view_key(TableName("canvas", "nothing"))
VIEW_OF_LOGS = view_key(TableName("canvas_logs", "web_logs"))
VIEWS = [VIEW_OF_USERS, VIEW_OF_NOTHING, VIEW_OF_LOGS]


def keys_made(result: dg.ExecuteInProcessResult) -> set[dg.AssetKey]:
    return {e.asset_key for e in result.get_asset_materialization_events() if e.asset_key}


def test_registering_tells_each_published_table_and_skips_the_others(
    definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
) -> None:
    materialize(definitions, [USERS, WEB_LOGS], instance)
    result = materialize(definitions, VIEWS, instance)
    assert result.success
    assert keys_made(result) == {VIEW_OF_USERS, VIEW_OF_LOGS}
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key == VIEW_OF_USERS]
    assert isinstance(event.materialization, dg.AssetMaterialization)
    metadata = {name: item.value for name, item in event.materialization.metadata.items()}
    assert metadata["dagster/row_count"] == small_school.USERS
    assert metadata["warehouse"] == str(settings.warehouse_file)
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as reader:
        assert reader.execute("FROM canvas.users LIMIT 10").fetchall()
        query = str(metadata["sample_sql"]).removeprefix("```sql\n").removesuffix("\n```")
        assert len(reader.execute(query).fetchall()) == 10


def test_registering_one_table_keeps_the_others_registered(
    definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
) -> None:
    materialize(definitions, [USERS, WEB_LOGS], instance)
    result = materialize(definitions, [VIEW_OF_USERS], instance)
    assert keys_made(result) == {VIEW_OF_USERS}
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as reader:
        assert reader.execute("SELECT count(*) FROM canvas_logs.web_logs").fetchall() == [(3,)]


def test_registering_needs_no_credentials(
    definitions: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(definitions, [USERS], instance)
    monkeypatch.delenv("DAP_CLIENT_ID")
    monkeypatch.delenv("DAP_CLIENT_SECRET")
    assert materialize(definitions, [VIEW_OF_USERS], instance).success


def test_a_warehouse_that_cannot_be_built_is_told_in_one_sentence(
    definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
) -> None:
    settings.warehouse_file.mkdir(parents=True)
    (settings.warehouse_file / "in the way").touch()
    result = materialize(definitions, VIEWS, instance)
    assert not result.success
    [entry] = failures_of(instance, result.run_id).values()
    assert words_of(entry).startswith(f"the warehouse {settings.warehouse_file} cannot be written")


def harm(folder: Path) -> None:
    for commit in (folder / "_delta_log").glob("*.json"):
        commit.write_text("nonsense")


def warnings_of(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    entries = instance.all_logs(run_id)
    return [entry.user_message for entry in entries if entry.level == logging.WARNING]


def test_a_table_that_cannot_be_read_fails_after_the_others_are_registered(
    definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
) -> None:
    materialize(definitions, [USERS, WEB_LOGS], instance)
    harm(settings.lake_dir / "canvas_logs" / "web_logs")
    result = materialize(definitions, VIEWS, instance)
    assert not result.success
    assert keys_made(result) == {VIEW_OF_USERS}
    [entry] = failures_of(instance, result.run_id).values()
    assert words_of(entry).startswith("canvas_logs.web_logs is not in the warehouse: ")
    assert "move it away and load the table anew." in words_of(entry)
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as reader:
        assert reader.execute("FROM canvas.users LIMIT 10").fetchall()


def test_a_table_that_cannot_be_read_fails_no_run_that_is_not_about_it(
    definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
) -> None:
    materialize(definitions, [USERS, WEB_LOGS], instance)
    harm(settings.lake_dir / "canvas_logs" / "web_logs")
    result = materialize(definitions, [VIEW_OF_USERS], instance)
    assert result.success
    [told] = warnings_of(instance, result.run_id)
    assert told.startswith("canvas_logs.web_logs is not in the warehouse: ")


def test_changes_that_cannot_be_read_are_told_and_fail_nothing(
    definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
) -> None:
    materialize(definitions, [USERS], instance)
    log = settings.lake_dir / "canvas" / "users" / "_changes" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("nonsense")
    result = materialize(definitions, VIEWS, instance)
    assert keys_made(result) == {VIEW_OF_USERS}
    [told] = warnings_of(instance, result.run_id)
    assert told.startswith("canvas.users is in the warehouse without its changes: ")


class Automation:
    """The registration's sensor, tick by tick, without the daemon."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance = definitions, instance
        self.cursor: AssetDaemonCursor | None = None

    def tick(self) -> set[dg.AssetKey]:
        result = dg.evaluate_automation_conditions(
            self.definitions,
            self.instance,
            asset_selection=dg.AssetSelection.groups("duckdb"),
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return {key for key in VIEWS if result.get_num_requested(key)}

    def follow(self, keys: Sequence[dg.AssetKey]) -> bool:
        return materialize(self.definitions, keys, self.instance).success


@pytest.fixture
def automation(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Automation:
    return Automation(definitions, instance)


def test_nothing_is_registered_before_a_table_is_loaded(automation: Automation) -> None:
    assert automation.tick() == set()


def test_a_loaded_table_is_registered_once(automation: Automation) -> None:
    automation.tick()
    automation.follow([USERS])
    assert automation.tick() == {VIEW_OF_USERS}
    automation.follow([VIEW_OF_USERS])
    assert automation.tick() == set()
    assert automation.tick() == set()


def test_a_table_that_was_never_loaded_holds_no_other_up(automation: Automation) -> None:
    automation.tick()
    automation.follow([NOTHING, USERS])
    assert automation.tick() == {VIEW_OF_USERS, VIEW_OF_NOTHING}


def test_a_table_loaded_again_is_registered_again(automation: Automation) -> None:
    automation.tick()
    automation.follow([USERS])
    automation.follow(sorted(automation.tick()))
    automation.follow([USERS])
    assert automation.tick() == {VIEW_OF_USERS}


def test_a_table_loaded_while_another_registration_ran_is_registered(
    automation: Automation,
) -> None:
    automation.tick()
    automation.follow([USERS])
    requested = sorted(automation.tick())
    automation.follow([WEB_LOGS])
    automation.follow(requested)
    assert automation.tick() == {VIEW_OF_LOGS}


def test_a_run_that_loads_and_registers_is_not_registered_again(automation: Automation) -> None:
    automation.tick()
    assert automation.follow([USERS, WEB_LOGS, VIEW_OF_USERS, VIEW_OF_LOGS])
    assert automation.tick() == set()


def test_tables_of_a_run_that_failed_for_one_are_registered_afterwards(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_sandbox(tmp_path / "school", RefusedTable("users")) as sandbox:
        definitions = definitions_for(settings_for(sandbox, tmp_path), monkeypatch)
        automation = Automation(definitions, instance)
        automation.tick()
        assert not automation.follow([USERS, WEB_LOGS, VIEW_OF_USERS, VIEW_OF_LOGS])
        assert automation.tick() == {VIEW_OF_LOGS}


def test_a_registration_that_failed_waits_for_the_next_load(
    automation: Automation, settings: Settings
) -> None:
    automation.tick()
    automation.follow([USERS])
    requested = sorted(automation.tick())
    settings.warehouse_file.mkdir(parents=True)
    assert not automation.follow(requested)
    assert automation.tick() == set()
    assert automation.tick() == set()
    settings.warehouse_file.rmdir()
    automation.follow([USERS])
    assert automation.tick() == {VIEW_OF_USERS}
