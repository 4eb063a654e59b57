from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from dap_pipeline.cli.summary import _details
from dap_pipeline.lake.records import NOTHING_NEWER
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.sandbox.store import Store, naive
from dap_pipeline_tests.sandbox import small_school
from dap_pipeline_tests.sandbox.small_school import USERS

from .running import Shell, clean_environment, shell_for

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(sandbox: RunningSandbox, tmp_path: Path) -> Shell:
    return shell_for(sandbox, tmp_path / "work")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in a folder whose lake has all tables, for tests that load nothing."""
    folder = tmp_path_factory.mktemp("loaded")
    config = SandboxConfig(folder / "sandbox", rate_limits=False, rows_per_part=25)
    with small_school.running(config) as sandbox:
        shell = shell_for(sandbox, folder / "work")
        load_all(shell)
        yield shell


def one_more_user(store: Store, now: datetime) -> None:
    """Let the school live on by one new user."""
    with store.transaction() as cursor:
        cursor.execute(
            "INSERT INTO canvas.users BY NAME SELECT 9999 AS id, 'New' AS name,"
            " 'registered' AS workflow_state, ?::TIMESTAMP AS meta_ts, 'U' AS meta_action",
            [naive(now)],
        )


def load_all(shell: Shell, *words: str) -> dict[str, dict[str, object]]:
    done = shell.run("load", "--namespace", "canvas", "--table", "all", "--json", *words)
    assert done.returncode == 0, done.stderr
    return {row["table"]: row for row in json.loads(done.stdout)}


def test_load_publishes_tables_and_registers_them(shell: Shell) -> None:
    rows = load_all(shell)
    assert {table: row["outcome"] for table, row in rows.items()} == {
        "everything": "done",
        "nothing": "done",
        "users": "done",
    }
    with duckdb.connect(str(shell.folder / "data" / "warehouse.duckdb"), read_only=True) as db:
        assert db.execute("SELECT count(*) FROM canvas.users").fetchall() == [(USERS,)]
        assert db.execute("SELECT count(*) FROM canvas.nothing").fetchall() == [(0,)]
        assert db.execute("SELECT count(*) FROM dap.tables").fetchall() == [(3,)]


def test_both_source_formats_give_the_same_rows(shell: Shell, tmp_path: Path) -> None:
    load_all(shell)
    other = Shell(
        shell.folder,
        {**shell.environment, "DAP_PIPELINE_DATA_DIR": str(tmp_path / "jsonl")},
    )
    load_all(other, "--source-format", "jsonl")
    with duckdb.connect() as db:
        for name, folder in (("a", shell.folder / "data"), ("b", tmp_path / "jsonl")):
            db.execute(f"ATTACH '{folder / 'warehouse.duckdb'}' AS {name} (READ_ONLY)")
        for table, columns in {
            "users": "*",
            # White space within free-form JSON is no part of its value.
            "everything": "* REPLACE (json(free) AS free)",
        }.items():
            left, right = (f"SELECT {columns} FROM {name}.canvas.{table}" for name in "ab")
            for query in (f"{left} EXCEPT ALL {right}", f"{right} EXCEPT ALL {left}"):
                assert db.execute(query).fetchall() == []


def test_a_second_load_downloads_nothing_and_says_so(sandbox: RunningSandbox, shell: Shell) -> None:
    load_all(shell)
    served = sandbox.service.counts.requests[Endpoint.OBJECT]
    rows = load_all(shell)
    assert {row["outcome"] for row in rows.values()} == {"unchanged"}
    assert sandbox.service.counts.requests[Endpoint.OBJECT] == served


def test_what_changed_since_is_loaded_as_a_new_version(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path / "school", rate_limits=False)
    with small_school.running(config, advance=one_more_user) as sandbox:
        shell = shell_for(sandbox, tmp_path / "work")
        load_all(shell)
        # Beyond the 24 hours for which DAP answers the same job.
        sandbox.advance(hours=25)
        rows = load_all(shell)
        assert (rows["users"]["rows"], rows["users"]["version"]) == (USERS + 1, 1)
        assert rows["nothing"]["outcome"] == "unchanged"
        told = shell.run("history", "--namespace", "canvas", "--table", "users", "--json")
        assert [row["change"] for row in json.loads(told.stdout)] == [1, USERS]


def test_status_tells_what_is_there_without_asking_dap(loaded: Shell) -> None:
    offline = Shell(loaded.folder, clean_environment())
    rows = {row["table"]: row for row in json.loads(offline.run("status", "--json").stdout)}
    assert rows["users"]["rows"] == USERS
    assert rows["users"]["as_of"] == "2026-11-20T00:00:00Z"
    assert rows["users"]["schema_version"] == 3
    assert not rows["users"]["stale"]
    text = offline.run("status")
    assert "canvas.users" in text.stdout
    assert "3 tables, 0 stale" in text.stderr


def test_a_table_that_was_not_checked_for_long_is_stale(loaded: Shell) -> None:
    done = loaded.run("status", "--json", DAP_PIPELINE_STALE_AFTER="PT0.001S")
    assert all(row["stale"] for row in json.loads(done.stdout))


def test_status_of_an_empty_lake_says_how_to_fill_it(tmp_path: Path) -> None:
    done = Shell(tmp_path, clean_environment()).run("status")
    assert done.returncode == 0
    assert "dap-pipeline load" in done.stderr


def test_history_lists_the_versions_of_a_table(shell: Shell) -> None:
    job = load_all(shell)["users"]["job_id"]
    done = shell.run("history", "--namespace", "canvas", "--table", "users", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["rows"], row["change"], row["kind"]) == (USERS, USERS, "snapshot")
    assert row["job_id"] == job
    assert str(job) in shell.run("history", "--namespace", "canvas", "--table", "users").stdout


def test_history_of_an_unknown_table_is_wrong_usage(shell: Shell) -> None:
    done = shell.run("history", "--namespace", "canvas", "--table", "nobody")
    assert done.returncode == 2
    assert "canvas.nobody is not in the lake" in done.stderr


def test_register_builds_the_warehouse_anew(loaded: Shell) -> None:
    file = loaded.folder / "data" / "warehouse.duckdb"
    file.unlink()
    done = loaded.run("register")
    assert done.returncode == 0
    assert done.stdout.startswith("3 tables registered")
    assert file.exists()


def test_the_data_of_two_services_never_mix(loaded: Shell) -> None:
    words = ["load", "--namespace", "canvas", "--table", "users"]
    done = loaded.run("--base-url", "https://dap.example.edu", *words)
    assert done.returncode == 2
    assert "Set DAP_PIPELINE_DATA_DIR to another folder" in done.stderr


def test_a_data_folder_that_cannot_be_written_is_told(shell: Shell) -> None:
    (shell.folder / "data").write_text("a file in the way")
    done = shell.run("load", "--namespace", "canvas", "--table", "users")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "data" in done.stderr


def test_refresh_catalogue_keeps_what_dap_lists(shell: Shell) -> None:
    done = shell.run("refresh-catalogue", "--namespace", "canvas")
    assert done.returncode == 0, done.stderr
    kept = shell.folder / "data" / "catalogue" / "canvas"
    assert sorted(f.stem for f in kept.iterdir()) == ["everything", "nothing", "users"]


def test_refresh_catalogue_passes_over_a_namespace_that_the_account_lacks(shell: Shell) -> None:
    done = shell.run("refresh-catalogue")
    assert done.returncode == 0, done.stderr
    assert "DAP lists no namespace catalog for this account" in done.stderr
    assert "4 schemas kept" in done.stdout


def test_everything_in_the_data_folder_is_private(loaded: Shell) -> None:
    data = loaded.folder / "data"
    assert data.stat().st_mode & 0o077 == 0
    open_folders = [p for p in data.rglob("*") if p.is_dir() and p.stat().st_mode & 0o077]
    open_files = [p for p in data.rglob("*") if p.is_file() and p.stat().st_mode & 0o077]
    assert (open_folders, open_files) == ([], [])


def test_load_takes_what_changed_and_says_how_much(shell: Shell, sandbox: RunningSandbox) -> None:
    words = ("load", "--namespace", "canvas", "--table", "users", "--mode", "auto")
    first = shell.run(*words)
    assert "60 rows" in first.stdout
    assert "snapshot, since the table was not in the lake yet" in first.stdout
    sandbox.service.clock.advance(timedelta(hours=4))
    sandbox.life.bump("canvas.users", Bump.COLUMN_ADDED)
    sandbox.life.insert("canvas.users", 2)
    sandbox.life.delete("canvas.users", 1)
    second = shell.run(*words)
    assert "+2 ~0 -1" in second.stdout
    assert "was added as" in second.stdout
    (row,) = json.loads(shell.run(*words, "--json").stdout)
    assert (row["outcome"], row["mode"], row["inserted"]) == ("unchanged", "auto", 0)
    log = shell.folder / "data" / "lake" / "canvas" / "users" / "_changes" / "_delta_log"
    for commit in log.glob("*.json"):
        commit.write_text("harmed")
    told = shell.run("status").stderr
    assert "was added as" in told
    assert "/_changes cannot be read or recorded" in told


def test_why_a_table_is_unchanged_is_told_where_it_is_not_plain() -> None:
    row = {"outcome": "unchanged", "reason": "DAP answers with its job of noon"}
    assert _details(row) == " (DAP answers with its job of noon)"
    assert _details({**row, "reason": NOTHING_NEWER}) == ""


def test_only_changes_without_a_base_fail(shell: Shell) -> None:
    done = shell.run("load", "--namespace", "canvas", "--table", "users", "--mode", "incremental")
    assert done.returncode == 1
    assert "Load it first with `dap-pipeline load --mode snapshot`" in done.stdout


def test_an_earlier_version_is_read_and_brought_back(shell: Shell, sandbox: RunningSandbox) -> None:
    table = ("--namespace", "canvas", "--table", "users")
    shell.run("load", *table)
    sandbox.service.clock.advance(timedelta(hours=4))
    sandbox.life.delete("canvas.users", 5)
    shell.run("load", *table, "--mode", "auto")
    (newest, oldest) = json.loads(shell.run("history", *table, "--json").stdout)
    assert (newest["deleted"], newest["rows"], oldest["rows"]) == (5, USERS - 5, USERS)
    (only,) = json.loads(shell.run("history", *table, "--as-of", oldest["as_of"], "--json").stdout)
    assert only == oldest
    sql = shell.run("history", *table, "--version", "0", "--sql").stdout
    assert len(duckdb.sql(sql).fetchall()) == USERS
    for name in ("users.parquet", "users.csv", "users.jsonl"):
        done = shell.run("history", *table, "--version", "0", "--output", name)
        assert f"{USERS} rows of version 0" in done.stderr
        assert duckdb.sql(f"SELECT count(*) FROM '{shell.folder / name}'").fetchall() == [(USERS,)]
    assert shell.run("history", *table, "--output", "users.xlsx").returncode == 2
    assert shell.run("history", *table, "--version", "0", "--as-of", "now").returncode == 2
    assert "no version 7" in shell.run("restore", *table, "--version", "7").stderr
    done = shell.run("restore", *table, "--version", "0", DAP_PIPELINE_STALE_AFTER="P9D")
    assert f"{USERS} rows, now version 2" in done.stdout
    with duckdb.connect(str(shell.folder / "data" / "warehouse.duckdb"), read_only=True) as db:
        assert db.execute("SELECT count(*) FROM canvas.users").fetchall() == [(USERS,)]
        stale = "SELECT stale_at - checked_at FROM dap.tables"
        assert db.execute(stale).fetchall() == [(timedelta(days=9),)]
        # The newest was undone: at its instant, too, the table is as it was restored.
        instant = f"TIMESTAMPTZ '{newest['as_of']}'"
        db.execute(f"SET VARIABLE files = dap.files_as_of('canvas', 'users', {instant})")
        past = "SELECT count(*) FROM read_parquet(getvariable('files'), union_by_name = true)"
        assert db.execute(past).fetchall() == [(USERS,)]
    told = json.loads(shell.run("history", *table, "--json").stdout)
    assert [version["undone_by"] for version in told] == [None, 2, None]
    assert told[1]["note"] == "undone by version 2"
