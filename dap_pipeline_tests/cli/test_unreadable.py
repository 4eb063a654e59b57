"""A table that cannot be read is told by the verbs, and holds no other table up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dap_pipeline.cli.main import cli
from dap_pipeline.lake.tables import Lake
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline_tests.lake.checking.school import (
    ENROLLMENT,
    ENROLLMENTS,
    USER,
    USERS,
    good_rows,
    put,
    users,
)
from dap_pipeline_tests.warehouse.small_lake import query

from .running import shell_for

ADVICE = "bring this folder back from a backup, or move it away and load the table anew."


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake of two tables, of which the enrollments cannot be read."""
    monkeypatch.setenv("DAP_PIPELINE_DATA_DIR", str(tmp_path / "data"))
    lake = Lake(tmp_path / "data" / "lake")
    put(lake, USERS, USER, users(1, 2))
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    harm(lake.folder(ENROLLMENTS))
    return lake


def harm(folder: Path) -> None:
    (folder / "_delta_log" / f"{0:020}.json").write_text("nonsense")


def told(*words: str) -> Result:
    return CliRunner().invoke(cli, words, standalone_mode=False)


def test_register_registers_the_others_and_ends_with_one(lake: Lake, tmp_path: Path) -> None:
    done = told("--quiet", "register")
    assert done.return_value == 1
    assert done.stdout.startswith("1 tables registered in ")
    assert f"Error: canvas.enrollments is not in the warehouse: {lake.root}" in done.stderr
    assert done.stderr.rstrip().endswith(ADVICE)
    assert query(tmp_path / "data" / "warehouse.duckdb", "SELECT count(*) FROM canvas.users") == [
        (2,)
    ]


def test_check_passes_over_what_a_load_that_was_killed_has_left(lake: Lake) -> None:
    (lake.root / "canvas" / "accounts" / "_delta_log").mkdir(parents=True)
    done = told("check", "--namespace", "canvas", "--table", "all")
    assert "canvas.users: " in done.stdout
    assert "1 tables checked" in done.stderr


def test_a_table_that_cannot_be_read_is_drawn_as_the_catalogue_has_it(lake: Lake) -> None:
    done = told("diagram", "--namespace", "canvas", "--table", "users,enrollments")
    assert done.return_value is None
    assert "enrollments" in done.stdout
    assert done.stderr.startswith(f"Warning: canvas.enrollments: {lake.root}")
    assert "It is drawn as the catalogue has it.\n" in done.stderr


def test_status_lists_the_others_and_ends_with_one(lake: Lake) -> None:
    done = told("status")
    assert done.return_value == 1
    assert "canvas.users" in done.stdout
    assert "1 tables, " in done.stderr
    assert f"Error: canvas.enrollments: {lake.root}" in done.stderr
    assert done.stderr.rstrip().endswith(ADVICE)
    rows = json.loads(told("status", "--json").stdout)
    assert [row["table"] for row in rows] == ["users", "enrollments"]
    assert (rows[0]["rows"], rows[1]["error"]) == (2, "LakeError")
    assert rows[1]["message"].endswith(ADVICE)


def test_status_of_a_lake_of_which_nothing_can_be_read_does_not_call_it_empty(lake: Lake) -> None:
    harm(lake.folder(USERS))
    done = told("status")
    assert (done.return_value, done.stdout) == (1, "")
    assert "is empty" not in done.stderr
    assert "canvas.users: " in done.stderr


def test_check_checks_the_others_and_ends_with_one(lake: Lake) -> None:
    done = told("check", "--namespace", "canvas", "--table", "all")
    assert done.return_value == 1
    assert done.stdout.splitlines() == ["canvas.users: 8 checks passed (version 0)"]
    assert f"Error: canvas.enrollments: {lake.root}" in done.stderr


@pytest.mark.slow
def test_loads_of_other_tables_end_well_and_tell_it(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    shell = shell_for(sandbox, tmp_path / "work")
    assert shell.run("load", "--namespace", "canvas", "--table", "users").returncode == 0
    harm(shell.folder / "data" / "lake" / "canvas" / "users")
    done = shell.run("load", "--namespace", "canvas", "--table", "nothing")
    assert done.returncode == 0
    assert "1 tables registered in " in done.stderr
    assert "Warning: canvas.users is not in the warehouse: " in done.stderr
    assert ADVICE in done.stderr
    done = shell.run("load", "--namespace", "canvas", "--table", "all")
    assert done.returncode == 1
    assert "canvas.users: failed: " in done.stdout
    assert "canvas.nothing: unchanged" in done.stdout
