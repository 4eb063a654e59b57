"""The verb `check` says about the lake what Dagster's checks say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dap_pipeline.cli.main import cli, run
from dap_pipeline.lake.tables import Lake
from dap_pipeline_tests.lake.checking.school import (
    ENROLLMENT,
    ENROLLMENTS,
    USER,
    USERS,
    good_rows,
    put,
    users,
)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("DAP_PIPELINE_DATA_DIR", str(tmp_path / "data"))
    return Lake(tmp_path / "data" / "lake")


def check(table: str, *more: str) -> Result:
    arguments = ["check", "--namespace", "canvas", "--table", table, *more]
    return CliRunner().invoke(cli, arguments, standalone_mode=False)


def test_good_tables_pass(lake: Lake) -> None:
    put(lake, USERS, USER, users(1, 2))
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    done = check("all")
    assert done.return_value == 0
    assert done.stdout.splitlines() == [
        "canvas.enrollments: 8 checks passed (version 0)",
        "canvas.users: 8 checks passed (version 0)",
    ]
    assert "2 tables checked: 0 with errors, 0 with warnings." in done.stderr


def test_an_error_is_told_with_its_findings_and_ends_with_one(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, [*good_rows(), *good_rows(1)])
    done = check("enrollments")
    assert done.return_value == 1
    assert done.stdout.splitlines() == [
        "canvas.enrollments: 1 of 8 checks failed (version 0)",
        "  error key_is_unique: Some rows share a key or have none.",
        "    id: 1 keys occur more than once, such as 1",
    ]


def test_a_warning_ends_well(lake: Lake) -> None:
    put(lake, USERS, USER, users(1))
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    done = check("enrollments", "--json")
    assert done.return_value == 0
    [report] = json.loads(done.stdout)
    failed = [result for result in report["results"] if not result["passed"]]
    assert [(r["name"], r["severity"]) for r in failed] == [("references_resolve", "warn")]
    assert report["version"] == 0


def test_unchanged_tables_are_read_only_when_asked_to(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    check("enrollments")
    for file in lake.folder(ENROLLMENTS).glob("*.parquet"):
        file.write_bytes(b"no Parquet")
    assert check("enrollments").return_value == 0
    assert run(["check", "--namespace", "canvas", "--table", "enrollments", "--again"]) == 1


@pytest.mark.parametrize("table", ["all", "users"])
def test_a_table_that_is_not_there_is_wrong_usage(
    lake: Lake, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--namespace", "canvas", "--table", table]) == 2
    assert "in the lake. See what is there with `dap-pipeline status`." in capsys.readouterr().err
    assert lake.tables() == []
