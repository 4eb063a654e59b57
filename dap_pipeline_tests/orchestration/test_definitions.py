from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from dap_pipeline.dap.catalogue import load_catalogue, save_namespace
from dap_pipeline.dap.models import TableName, VersionedSchema
from dap_pipeline.lake.columns import shape_of
from dap_pipeline.orchestration.wiring import build_definitions
from dap_pipeline.settings import load_settings
from dap_pipeline_tests.cli.running import clean_environment

PROJECT = Path(__file__).parent.parent.parent
COURSES = dg.AssetKey(["canvas", "courses"])


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(load_settings(data_dir=tmp_path_factory.mktemp("data")))


def spec_of(definitions: dg.Definitions, *path: str) -> dg.AssetSpec:
    return definitions.resolve_assets_def(dg.AssetKey(path)).get_asset_spec(dg.AssetKey(path))


def test_definitions_are_valid(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_the_assets_are_these(definitions: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    lines = [
        f"{spec.key.to_user_string()} in {spec.group_name}: {', '.join(sorted(spec.kinds))}"
        for spec in definitions.resolve_all_asset_specs()
    ]
    assert sorted(lines) == snapshot


@pytest.mark.slow
def test_definitions_load_without_settings_network_or_heavy_libraries(tmp_path: Path) -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('the network was used')\n"
        "socket.socket.connect = refuse\n"
        "import dap_pipeline.definitions\n"
        "print(sorted({'deltalake', 'duckdb', 'pyarrow'} & set(sys.modules)))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout == "[]\n"


@pytest.mark.slow
def test_dagster_finds_the_definitions_through_the_workspace_file() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate"],
        env=clean_environment(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "dap_pipeline" in told.stderr + told.stdout


def test_every_table_has_its_registration(definitions: dg.Definitions) -> None:
    names = load_catalogue().names()
    assert names
    for name in names:
        spec = spec_of(definitions, "duckdb", name.namespace, name.table)
        assert [dep.asset_key.path for dep in spec.deps] == [[name.namespace, name.table]]
    namespaces = load_catalogue().namespaces
    assert len(list(definitions.resolve_all_asset_keys())) == 2 * len(names) + len(namespaces)


def test_a_table_shows_its_columns(definitions: dg.Definitions) -> None:
    metadata = spec_of(definitions, "canvas", "courses").metadata
    table = load_catalogue().get(TableName("canvas", "courses"))
    assert table
    schema = metadata["dagster/column_schema"]
    shape = shape_of(table.schema)
    assert [column.name for column in schema.columns] == [c.name for c in shape.columns]
    columns = {column.name: column for column in schema.columns}
    assert columns["id"].constraints == dg.TableColumnConstraints(
        nullable=False, unique=True, other=["key"]
    )
    assert columns["created_at"].type == "TIMESTAMP WITH TIME ZONE"
    assert "One of: created, claimed," in (columns["workflow_state"].description or "")
    assert columns["account_id"].constraints.other == ["refers to canvas.accounts.id"]
    assert metadata["documentation"].value.endswith("/dataset-canvas#courses")


def test_a_masked_column_is_tagged_before_anything_is_loaded_and_without_a_key(
    tmp_path: Path,
) -> None:
    settings = load_settings(data_dir=tmp_path, mask_people=True, mask="canvas.users.locale=drop")
    schema = spec_of(build_definitions(settings), "canvas", "users").metadata[
        "dagster/column_schema"
    ]
    columns = {column.name: column for column in schema.columns}
    assert columns["name"].tags == {"dap/masked": "null"}
    assert columns["uuid"].tags == {"dap/masked": "hash"}
    assert not columns["id"].tags
    assert "locale" not in columns


@pytest.mark.parametrize("prefix", [(), ("duckdb",)])
def test_a_description_names_the_source(tmp_path: Path, prefix: tuple[str, ...]) -> None:
    key = (*prefix, "canvas", "courses")
    school = spec_of(build_definitions(load_settings(data_dir=tmp_path)), *key).description
    made_up = spec_of(build_definitions(load_settings(data_dir=tmp_path, sandbox=True)), *key)
    assert school
    assert school.endswith("Source: https://api-gateway.instructure.com.")
    assert made_up.description
    assert made_up.description.startswith("Made-up school: ")
    assert made_up.description.endswith("Source: the embedded service, with a made-up school.")


def test_a_table_is_stale_when_it_was_not_checked_for_a_while(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, stale_after=timedelta(hours=48))
    policy = spec_of(build_definitions(settings), "canvas", "courses").freshness_policy
    assert policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48))


def test_schedules_wait_until_they_are_started(definitions: dg.Definitions) -> None:
    schedules = [s for s in definitions.schedules or () if isinstance(s, dg.ScheduleDefinition)]
    assert {schedule.job_name for schedule in schedules} == {
        "refresh_canvas",
        "refresh_canvas_logs",
        "refresh_catalog",
    }
    assert {s.default_status for s in schedules} == {dg.DefaultScheduleStatus.STOPPED}
    assert len({s.cron_schedule for s in schedules}) == len(schedules)


def test_a_refresh_job_loads_tables_and_registers_nothing(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("refresh_canvas")
    keys = job.asset_layer.executable_asset_keys
    assert COURSES in keys
    assert {key.path[0] for key in keys} == {"canvas"}


def test_the_registration_sensor_runs_from_the_start(definitions: dg.Definitions) -> None:
    [sensor] = definitions.sensors or ()
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 60


def test_a_refreshed_catalogue_is_shown(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    table = load_catalogue().get(TableName("canvas", "courses"))
    assert table
    save_namespace(settings.catalogue_dir, "new_quizzes", {"items": table.schema})
    keys = set(build_definitions(settings).resolve_all_asset_keys())
    assert dg.AssetKey(["new_quizzes", "items"]) in keys
    assert COURSES in keys


def test_a_schema_that_cannot_be_read_does_not_take_other_tables_along(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    broken = VersionedSchema(schema={"properties": "none"}, version=1)
    save_namespace(settings.catalogue_dir, "odd", {"broken": broken})
    definitions = build_definitions(settings)
    dg.Definitions.validate_loadable(definitions)
    spec = spec_of(definitions, "odd", "broken")
    assert "dagster/column_schema" not in spec.metadata
    assert spec.description == (
        "The table odd.broken. Source: https://api-gateway.instructure.com."
    )
