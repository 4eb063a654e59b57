from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dap_pipeline.sandbox import errors
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.interceptors import Interceptor
from dap_pipeline.sandbox.job_book import Job
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline_tests.sandbox import small_school

from .running import Shell, clean_environment, shell_for

pytestmark = pytest.mark.slow


class FailingTable(Interceptor):
    """Fails every job of a table as DAP does."""

    def __init__(self, table: str) -> None:
        self.table = table

    def before_job(self, job: Job) -> None:
        if job.table == self.table:
            raise errors.processing("no file could be written")


@pytest.fixture
def shell(sandbox: RunningSandbox, tmp_path: Path) -> Shell:
    return shell_for(sandbox, tmp_path / "work")


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[RunningSandbox]:
    config = SandboxConfig(tmp_path / "failing", rate_limits=False, rows_per_part=25)
    with small_school.running(config, interceptors=[FailingTable("users")]) as running:
        yield running


def tree(folder: Path) -> dict[str, bytes]:
    """Give every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def by_the_official_client(official_dap: Path, shell: Shell, words: list[str]) -> dict[str, bytes]:
    """Give the files that Instructure's own program leaves for the same words."""
    folder = shell.folder / "official"
    folder.mkdir()
    subprocess.run(
        [str(official_dap), "--no-tracking", "--non-interactive", *words],
        cwd=folder,
        env={**shell.environment, "HOME": str(folder)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return tree(folder / "downloads")


@pytest.mark.parametrize("format_name", ["jsonl", "csv", "tsv", "parquet"])
def test_snapshot_leaves_the_same_files_as_the_official_client(
    official_dap: Path, sandbox: RunningSandbox, shell: Shell, format_name: str
) -> None:
    words = ["snapshot", "--namespace", "canvas", "--table", "users,everything"]
    words += ["--format", format_name]
    ours = shell.run(*words)
    assert ours.returncode == 0, ours.stderr
    files = tree(shell.folder / "downloads")
    assert len(files) == 4
    assert files == by_the_official_client(official_dap, shell, words)


def test_incremental_leaves_the_same_files_as_the_official_client(
    official_dap: Path, sandbox: RunningSandbox, shell: Shell
) -> None:
    words = ["incremental", "--namespace", "canvas", "--table", "users", "--format", "tsv"]
    words += ["--since", "2026-11-19T01:00:00+01:00"]
    assert shell.run(*words).returncode == 0
    ours = tree(shell.folder / "downloads")
    assert ours
    assert ours == by_the_official_client(official_dap, shell, words)


def test_a_second_snapshot_downloads_nothing(sandbox: RunningSandbox, shell: Shell) -> None:
    words = ["snapshot", "--namespace", "canvas", "--table", "all", "--json"]
    first = shell.run(*words)
    assert first.returncode == 0, first.stderr
    served = sandbox.service.counts.requests[Endpoint.OBJECT]
    second = shell.run(*words)
    assert sandbox.service.counts.requests[Endpoint.OBJECT] == served
    outcomes = {row["table"]: row["outcome"] for row in json.loads(second.stdout)}
    assert outcomes == {"everything": "unchanged", "nothing": "done", "users": "unchanged"}


def test_a_file_that_another_program_has_left_cut_is_fetched_again(shell: Shell) -> None:
    words = ["snapshot", "--namespace", "canvas", "--table", "users"]
    assert shell.run(*words).returncode == 0
    whole = tree(shell.folder / "downloads")
    victim = next((shell.folder / "downloads").rglob("*.gz"))
    victim.write_bytes(victim.read_bytes()[:-9])
    assert shell.run(*words).returncode == 0
    assert tree(shell.folder / "downloads") == whole


def test_downloads_are_readable_by_their_owner_only(shell: Shell) -> None:
    assert shell.run("snapshot", "--namespace", "canvas", "--table", "users").returncode == 0
    for folder in (shell.folder / "downloads").glob("job_*"):
        assert folder.stat().st_mode & 0o077 == 0
        assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())


def test_a_failed_table_stops_no_other_and_is_told_with_its_uuid(
    failing: RunningSandbox, tmp_path: Path
) -> None:
    shell = shell_for(failing, tmp_path / "work")
    # The retries of a failed job take a minute and a half; a deadline cuts them short.
    done = shell.run(
        "snapshot", "--namespace", "canvas", "--table", "all", "--json", "--timeout", "5"
    )
    assert done.returncode == 1
    rows = {row["table"]: row for row in json.loads(done.stdout)}
    assert rows["everything"]["outcome"] == "done"
    failed = rows["users"]
    assert (failed["outcome"], failed["error"]) == ("failed", "JobFailedError")
    assert "no file could be written" in failed["message"]
    assert failed["uuid"] in failed["message"]
    assert failed["job_id"] in failed["message"]
    assert "1 failed" in done.stderr


def test_the_name_canvas_log_is_taken(shell: Shell) -> None:
    done = shell.run("list", "--namespace", "canvas_log")
    assert done.stdout.split() == ["web_logs"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--table", "usres"], "Did you mean 'users'?"),
        (["--table", "users,,everything"], "a table name is empty"),
        (["--table", ""], "a table name is empty"),
        (["--table", "../users"], "has no table '../users'"),
        (["--table", "users", "--format", "xml"], "'xml' is not one of"),
        (["--table", "users", "--timeout", "0"], "0.0 is not in the range x>0"),
        ([], "Missing option '--table'"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(shell: Shell, words: list[str], says: str) -> None:
    done = shell.run("snapshot", "--namespace", "canvas", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (shell.folder / "downloads").exists()


def test_an_unknown_namespace_is_told_with_a_suggestion(shell: Shell) -> None:
    done = shell.run("snapshot", "--namespace", "canvsa", "--table", "users")
    assert done.returncode == 2
    assert "Did you mean 'canvas'?" in done.stderr


def test_a_repeated_name_counts_once(shell: Shell) -> None:
    done = shell.run("snapshot", "--namespace", "canvas", "--table", "users, users", "--json")
    assert len(json.loads(done.stdout)) == 1


def test_known_names_cost_no_list_call(sandbox: RunningSandbox, shell: Shell) -> None:
    assert shell.run("snapshot", "--namespace", "canvas", "--table", "users").returncode == 0
    assert sandbox.service.counts.requests[Endpoint.TABLES] == 0


def test_missing_credentials_are_told(tmp_path: Path) -> None:
    done = Shell(tmp_path, clean_environment()).run("list", "--namespace", "canvas")
    assert done.returncode == 2
    assert "Set DAP_CLIENT_ID and DAP_CLIENT_SECRET" in done.stderr


def test_refused_credentials_are_told_once_for_all_tables(shell: Shell) -> None:
    words = ["snapshot", "--namespace", "canvas", "--table", "users,courses,accounts"]
    done = shell.run(*words, DAP_CLIENT_SECRET="wrong-and-telling")
    assert done.returncode == 1
    assert "Check DAP_CLIENT_ID and DAP_CLIENT_SECRET" in done.stderr
    assert "wrong-and-telling" not in done.stderr + done.stdout


def test_a_secret_as_argument_works_with_a_warning(shell: Shell) -> None:
    secret = shell.environment["DAP_CLIENT_SECRET"]
    words = ["--client-secret", secret, "list", "--namespace", "canvas"]
    done = shell.run(*words, DAP_CLIENT_SECRET="")
    assert done.returncode == 0
    assert "set DAP_CLIENT_SECRET instead" in done.stderr
    assert secret not in done.stderr + done.stdout


def test_an_unreachable_host_is_told(shell: Shell) -> None:
    words = ["--base-url", "http://127.0.0.1:9", "list", "--namespace", "canvas"]
    done = shell.run(*words, DAP_PIPELINE_RETRY_SECONDS="1")
    assert done.returncode == 1
    assert "127.0.0.1:9 did not answer (Connection refused)" in done.stderr
    assert "Check the network, the proxy and DAP_API_URL" in done.stderr


def test_an_output_that_cannot_be_written_is_told(shell: Shell) -> None:
    (shell.folder / "downloads").write_text("a file in the way")
    done = shell.run("snapshot", "--namespace", "canvas", "--table", "users")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "downloads" in done.stderr


def test_ctrl_c_ends_it_with_130_and_keeps_what_has_arrived(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path / "slow", rate_limits=False, job_seconds=600)
    with small_school.running(config) as sandbox:
        shell = shell_for(sandbox, tmp_path / "work")
        process = shell.start("-v", "snapshot", "--namespace", "canvas", "--table", "users")
        assert process.stderr is not None
        assert any(
            "waiting" in line or "running" in line for line in iter(process.stderr.readline, "")
        )
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "goes on there" in err
        assert "Traceback" not in err


def test_list_gives_names_on_standard_output_only(shell: Shell) -> None:
    done = shell.run("list", "--namespace", "canvas")
    assert done.stdout.split() == ["everything", "nothing", "users"]
    as_json = shell.run("list", "--namespace", "canvas", "--json")
    assert json.loads(as_json.stdout) == ["everything", "nothing", "users"]


def test_quiet_says_nothing_when_all_is_well(shell: Shell) -> None:
    done = shell.run("-q", "snapshot", "--namespace", "canvas", "--table", "users")
    assert (done.returncode, done.stderr) == (0, "")


def test_schema_files_are_named_and_filled_as_the_official_client_does(shell: Shell) -> None:
    assert shell.run("schema", "--namespace", "canvas", "--table", "users").returncode == 0
    file = shell.folder / "downloads" / "users_schema_version_3.json"
    expected = {"schema": small_school.USER_SCHEMA, "version": 3}
    assert file.read_text() == json.dumps(expected, indent=4)


@pytest.mark.parametrize("format_name", ["JSONL", "Csv", "Parquet", "TSV"])
def test_formats_are_taken_in_any_case(shell: Shell, format_name: str) -> None:
    words = ["snapshot", "--namespace", "canvas", "--table", "users", "--format", format_name]
    assert shell.run(*words, "--verify", "size").returncode == 0
    assert len(tree(shell.folder / "downloads")) == 3
