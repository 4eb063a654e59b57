from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster import TableSchema

from dap_pipeline.errors import DapError
from dap_pipeline.lake.tables import Lake
from dap_pipeline.orchestration import describing, tables
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import Settings
from dap_pipeline_tests.sandbox import small_school

from .school import (
    EVERYTHING,
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


def made(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dg.AssetMaterialization:
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key == key]
    materialization = event.materialization
    assert isinstance(materialization, dg.AssetMaterialization)
    return materialization


def told(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(run_id)]


def test_materializing_a_table_publishes_it_and_tells_what_was_loaded(
    definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
) -> None:
    result = materialize(definitions, [USERS], instance)
    assert result.success
    [table] = Lake(settings.lake_dir).tables()
    metadata = {name: item.value for name, item in made(result, USERS).metadata.items()}
    assert metadata["dagster/row_count"] == table.rows == small_school.USERS
    assert metadata["dagster/size_bytes"] == table.bytes
    assert metadata["as_of"] == table.load.at.timestamp()
    assert metadata["job_id"] == table.load.job_id
    assert metadata["outcome"] == "loaded"
    assert metadata["schema_version"] == 3
    assert isinstance(metadata["downloaded_bytes"], int)
    assert metadata["downloaded_bytes"] > 0
    schema = metadata["dagster/column_schema"]
    assert isinstance(schema, TableSchema)
    assert [column.name for column in schema.columns] == [c.name for c in table.shape.columns]
    assert "previous_rows" not in metadata


def test_the_data_version_is_schema_version_and_instant(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    result = materialize(definitions, [USERS], instance)
    tags = made(result, USERS).tags or {}
    assert tags["dagster/data_version"] == "3@2026-11-20T00:00:00Z"


def test_the_log_says_which_service_is_asked(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    result = materialize(definitions, [USERS], instance)
    assert "Loading canvas.users from the embedded service, with a made-up school." in told(
        instance, result.run_id
    )


def test_a_table_without_news_says_that_it_is_unchanged(
    definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
) -> None:
    materialize(definitions, [USERS], instance)
    [before] = Lake(settings.lake_dir).tables()
    result = materialize(definitions, [USERS], instance)
    assert result.success
    metadata = made(result, USERS).metadata
    assert metadata["outcome"].value == "unchanged"
    assert metadata["rows_added"].value == 0
    line = "canvas.users is unchanged at 60 rows as of 2026-11-20T00:00:00Z: DAP has nothing newer."
    assert line in told(instance, result.run_id)
    [after] = Lake(settings.lake_dir).tables()
    assert replace(after, checked=before.checked) == before
    assert after.checked_at > before.checked_at


def test_a_failed_table_fails_alone_and_names_the_uuid(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_sandbox(tmp_path / "school", RefusedTable("users")) as sandbox:
        definitions = definitions_for(settings_for(sandbox, tmp_path), monkeypatch)
        result = materialize(definitions, [USERS, NOTHING, WEB_LOGS], instance)
    assert not result.success
    loaded = {e.asset_key for e in result.get_asset_materialization_events()}
    assert loaded == {NOTHING, WEB_LOGS}
    [(step, entry)] = failures_of(instance, result.run_id).items()
    assert step == "canvas__users"
    words = words_of(entry)
    assert words.startswith("canvas.users: ")
    assert "This table is out of order" in words
    assert "uuid " in words
    assert "\n" not in words
    assert entry.dagster_event
    data = entry.dagster_event.step_failure_data.user_failure_data
    assert data
    assert str(data.metadata["uuid"].value) in words
    assert data.metadata["dap_error_type"].value == "ValidationError"


def test_wrong_credentials_fail_tables_that_have_not_begun_without_asking_dap(
    sandbox: RunningSandbox,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAP_CLIENT_SECRET", "wrong")
    logins = sandbox.service.counts.requests[Endpoint.LOGIN]
    result = materialize(definitions, [USERS, NOTHING, WEB_LOGS], instance)
    assert not result.success
    assert sandbox.service.counts.requests[Endpoint.LOGIN] == logins + 1
    said = [words_of(entry) for entry in failures_of(instance, result.run_id).values()]
    assert len(said) == 3
    first, *others = said
    assert "Check DAP_CLIENT_ID and DAP_CLIENT_SECRET" in first
    for words in others:
        assert "was not tried" in words
        assert first in words
        assert words.count("was not tried") == 1


def test_a_new_run_begins_afresh_after_wrong_credentials(
    sandbox: RunningSandbox,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAP_CLIENT_SECRET", "wrong")
    assert not materialize(definitions, [USERS], instance).success
    monkeypatch.setenv("DAP_CLIENT_SECRET", sandbox.client_secret)
    assert materialize(definitions, [USERS], instance).success


def test_a_load_that_cannot_be_described_is_a_load_all_the_same(
    definitions: dg.Definitions,
    settings: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> describing.Metadata:
        raise ValueError("nothing to say")

    monkeypatch.setattr(tables, "load_metadata", broken)
    result = materialize(definitions, [USERS], instance)
    assert result.success
    assert len(Lake(settings.lake_dir).tables()) == 1
    assert any("cannot be described" in line for line in told(instance, result.run_id))


def test_a_table_of_every_type_is_described(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    result = materialize(definitions, [EVERYTHING], instance)
    assert result.success
    assert made(result, EVERYTHING).metadata["dagster/row_count"].value == 3


def test_a_missing_variable_is_named_before_anything_runs(
    definitions: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAP_CLIENT_SECRET")
    with pytest.raises(Exception, match="DAP_CLIENT_SECRET"):
        materialize(definitions, [USERS], instance)


def test_failures_that_cannot_go_away_forbid_retries() -> None:
    from dap_pipeline.errors import LoginRefusedError, ServerError
    from dap_pipeline.orchestration.failing import as_failure

    assert as_failure(LoginRefusedError("no")).allow_retries is False
    assert as_failure(ServerError("later")).allow_retries is True
    assert as_failure(DapError("odd")).allow_retries is False
