"""The checks of a table's asset, in a real run."""

# Dagster compares the annotation of `context` with its classes, so annotations are not postponed.

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from dap_pipeline.lake.checking.results import GROUPS, MEANINGS, CheckName
from dap_pipeline.lake.tables import Lake
from dap_pipeline.orchestration import checks
from dap_pipeline.orchestration.naming import table_key
from dap_pipeline.settings import Settings, load_settings
from dap_pipeline_tests.lake.checking.school import ENROLLMENT, ENROLLMENTS, good_rows, put
from dap_pipeline_tests.lake.making import STRING, shape

from .school import NOTHING, USERS, materialize

Evaluations = dict[str, dg.AssetCheckEvaluation]


def evaluations(result: dg.ExecuteInProcessResult) -> Evaluations:
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def test_every_check_stands_in_one_group_and_says_what_it_states() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(CheckName)
    assert MEANINGS.keys() == set(CheckName)


def test_every_table_has_the_checks_with_a_description(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    specs = [graph.get_check_spec(key) for key in graph.asset_check_keys if key.asset_key == USERS]
    assert {spec.name for spec in specs} == set(GROUPS)
    assert all(spec.description and not spec.blocking for spec in specs)


def test_a_load_evaluates_every_check_of_its_table(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    result = materialize(definitions, [USERS, NOTHING], instance)
    found = [(e.asset_key, e.check_name) for e in result.get_asset_check_evaluations()]
    assert sorted(found) == sorted((key, name) for key in (USERS, NOTHING) for name in GROUPS)
    assert all(e.passed for e in result.get_asset_check_evaluations())
    whole = evaluations(materialize(definitions, [USERS], instance))["rows_are_whole"]
    assert whole.metadata["key_is_unique"] == dg.MetadataValue.int(0)


@dataclass
class Place:
    lake: Lake
    settings: Settings


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = load_settings(data_dir=tmp_path / "data")
    return Place(Lake(settings.lake_dir), settings)


def run(place: Place) -> dg.ExecuteInProcessResult:
    """Run an asset that has the checks and loads nothing."""

    @dg.asset(key=table_key(ENROLLMENTS), check_specs=checks.check_specs(ENROLLMENTS))
    def asset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        results = checks.check_results(place, ENROLLMENTS, context.log)
        yield dg.MaterializeResult(check_results=results)

    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([asset], instance=instance)


def test_a_failed_check_is_told_with_its_findings_and_fails_no_run(place: Place) -> None:
    bad = [*good_rows(), {"id": 1, "workflow_state": "<b>x</b>"}]
    put(place.lake, ENROLLMENTS, ENROLLMENT, bad)
    result = run(place)
    assert result.success
    found = evaluations(result)
    whole, values = found["rows_are_whole"], found["values_are_known"]
    assert (whole.passed, whole.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert whole.description == "Some rows share a key or have none. Required values are missing."
    assert whole.metadata["key_is_unique"] == dg.MetadataValue.int(1)
    assert whole.metadata["lake_version"] == dg.MetadataValue.int(0)
    assert "keys occur more than once, such as 1" in str(whole.metadata["found"].value)
    assert (values.passed, values.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert r"\<b\>x" in str(values.metadata["found"].value)
    assert found["load_is_plausible"].passed
    assert found["schema_is_as_before"].passed


def test_an_unchanged_table_gets_the_same_results_without_being_read(place: Place) -> None:
    put(place.lake, ENROLLMENTS, ENROLLMENT, [*good_rows(), *good_rows(1)])
    first = evaluations(run(place))
    for file in place.lake.folder(ENROLLMENTS).glob("*.parquet"):
        file.write_bytes(b"no Parquet")
    again = evaluations(run(place))
    assert {name: e.metadata for name, e in again.items()} == {
        name: e.metadata for name, e in first.items()
    }
    assert not again["rows_are_whole"].passed


def test_a_long_list_of_findings_is_cut(place: Place) -> None:
    many = {f"c{number}": STRING for number in range(30)}
    rows = [{"id": 1, **dict.fromkeys(many, "__dap_oversized_truncated__")}]
    put(place.lake, ENROLLMENTS, shape(many), rows)
    values = evaluations(run(place))["values_are_known"]
    lines = str(values.metadata["found"].value).splitlines()
    assert lines[20:] == ["* and 10 more: `dap-pipeline check`"]


def unreadable(place: Place) -> None:
    put(place.lake, ENROLLMENTS, ENROLLMENT, good_rows())
    for file in place.lake.folder(ENROLLMENTS).glob("*.parquet"):
        file.write_bytes(b"no Parquet")


def absent(place: Place) -> None:
    assert place.lake.table(ENROLLMENTS) is None


@pytest.mark.parametrize("make", [unreadable, absent])
def test_checks_that_cannot_be_evaluated_are_warnings(
    place: Place, make: Callable[[Place], None]
) -> None:
    make(place)
    result = run(place)
    assert result.success
    found = evaluations(result)
    assert found.keys() == GROUPS.keys()
    assert {(e.passed, e.severity) for e in found.values()} == {(False, dg.AssetCheckSeverity.WARN)}
    assert all("could not be evaluated" in str(e.description) for e in found.values())


def test_the_definitions_load_without_what_only_a_step_needs() -> None:
    code = (
        "import sys, dap_pipeline.orchestration.checks;"
        "sys.exit(', '.join({'duckdb', 'deltalake', 'pyarrow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
