from __future__ import annotations

import dagster as dg
import pytest

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import Settings
from dap_pipeline_tests.sandbox import small_school

from .school import failures_of, words_of


def refresh(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_job_def("refresh_table_list")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def test_the_job_keeps_what_dap_lists(
    definitions: dg.Definitions,
    sandbox: RunningSandbox,
    settings: Settings,
    instance: dg.DagsterInstance,
) -> None:
    sandbox.service.store.create_table("canvas", "brand_new", small_school.USER_SCHEMA)
    result = refresh(definitions, instance)
    assert result.success
    names = load_catalogue(settings.catalogue_dir).names("canvas")
    assert TableName("canvas", "brand_new") in names
    said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "canvas: DAP gave the schemas of 4 tables." in said
    assert "Reload the definitions to see what changed." in said


def test_a_namespace_that_the_account_does_not_have_stays_as_it_is(
    definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
) -> None:
    before = load_catalogue(settings.catalogue_dir).names("catalog")
    result = refresh(definitions, instance)
    assert result.success
    assert load_catalogue(settings.catalogue_dir).names("catalog") == before
    said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "DAP lists no namespace catalog for this account." in said


def test_wrong_credentials_fail_the_job_in_one_sentence(
    definitions: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAP_CLIENT_SECRET", "wrong")
    result = refresh(definitions, instance)
    assert not result.success
    [entry] = failures_of(instance, result.run_id).values()
    assert "Check DAP_CLIENT_ID and DAP_CLIENT_SECRET" in words_of(entry)
