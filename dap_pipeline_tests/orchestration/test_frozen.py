"""A frozen schema fails the asset's run in words, and the old version stays published."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.records import LoadMode
from dap_pipeline.lake.tables import Lake
from dap_pipeline.orchestration.schedules import run_config_of
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import Settings

from .school import NOTHING, USERS, failures_of, materialize, words_of

USERS_TABLE = TableName("canvas", "users")


@pytest.mark.parametrize("mode", [LoadMode.AUTO, LoadMode.SNAPSHOT])
def test_a_changed_schema_fails_the_run_of_a_frozen_table_and_keeps_its_version(
    mode: LoadMode,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    settings: Settings,
    sandbox: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAP_PIPELINE_CONTRACT", "canvas.users=freeze")
    both = [USERS, NOTHING]
    assert materialize(definitions, both, instance).success
    lake = Lake(settings.lake_dir)
    before = lake.table(USERS_TABLE)
    assert before is not None
    sandbox.service.clock.advance(timedelta(hours=25))
    added = sandbox.life.bump("canvas.users", Bump.COLUMN_ADDED).field
    sandbox.life.update("canvas.users", 3)

    config = run_config_of({USERS_TABLE: mode})
    result = materialize(definitions, both, instance, config)
    assert not result.success
    failures = failures_of(instance, result.run_id)
    assert failures.keys() == {"canvas__users"}
    words = words_of(failures["canvas__users"])
    assert "canvas.users: the schema of this frozen table changed." in words
    assert f"{added} was added as" in words
    assert "(schema version 3 to 4)" in words
    assert "DAP_PIPELINE_CONTRACT" in words
    event = failures["canvas__users"].dagster_event
    assert event is not None
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert data.metadata["error"].value == "ContractError"
    after = lake.table(USERS_TABLE)
    assert after is not None
    assert (after.version, after.files, after.shape) == (before.version, before.files, before.shape)

    monkeypatch.setenv("DAP_PIPELINE_CONTRACT", "canvas.users=evolve")
    assert materialize(definitions, [USERS], instance, config).success
    permitted = lake.table(USERS_TABLE)
    assert permitted is not None
    assert added in [column.name for column in permitted.shape.columns]
