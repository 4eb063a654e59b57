"""Instructure's own command line client against the sandbox."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dap_pipeline.sandbox.clock import instant_text
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.serve import RunningSandbox

from . import small_school
from .caller import Caller
from .small_school import COMMITTED_AT, EARLIER, NASTY_TEXT, USER_SCHEMA, USERS

READER = Path(__file__).parent / "official_reader.py"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    folder = tmp_path_factory.mktemp("official")
    config = SandboxConfig(folder, rate_limits=False, rows_per_part=25, job_polls=0)
    with small_school.running(config) as running:
        yield running


class Official:
    """The client with the credentials of a sandbox and a folder of its own."""

    def __init__(self, dap: Path, sandbox: RunningSandbox, folder: Path) -> None:
        self.dap = dap
        self.sandbox = sandbox
        self.folder = folder
        self.caller = Caller(sandbox)

    def run(self, command: str, *options: str) -> str:
        """Run a command that must succeed and give what it wrote."""
        done = self.attempt(command, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def attempt(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DAP_CLIENT_ID": self.sandbox.client_id,
            "DAP_CLIENT_SECRET": self.sandbox.client_secret,
        }
        common = ["--no-tracking", "--non-interactive", "--base-url", self.sandbox.url]
        return subprocess.run(
            [str(self.dap), *common, command, *options],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def data(self, command: str, table: str, format_name: str, **query: str) -> list[bytes]:
        """Query a table of canvas and give the files of its parts.

        The job is brought to its end first, else the client would wait 5 seconds for each.
        """
        self.caller.ended_job(table, format=format_name, **query)
        options = [each for name, value in query.items() for each in (f"--{name}", value)]
        common = ["--namespace", "canvas", "--table", table, "--format", format_name]
        self.run(command, *common, *options)
        return [path.read_bytes() for path in self.parts()]

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob("downloads/job_*/part-*"))


@pytest.fixture
def official(official_dap: Path, sandbox: RunningSandbox, tmp_path: Path) -> Official:
    return Official(official_dap, sandbox, tmp_path)


def expected_users() -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "name": f"User {number}",
            "created_at": instant_text(small_school.user(number).values["created_at"]),
            "workflow_state": "registered",
        }
        for number in range(1, USERS + 1)
    ]


def test_it_lists_the_tables(official: Official) -> None:
    output = official.run("list", "--namespace", "canvas")
    assert {"everything", "nothing", "users"} <= set(output.split())


def test_it_saves_the_schema(official: Official) -> None:
    official.run("schema", "--namespace", "canvas", "--table", "users")
    path = official.folder / "downloads" / "users_schema_version_3.json"
    assert json.loads(path.read_text()) == {"schema": USER_SCHEMA, "version": 3}


def test_it_waits_for_a_job_and_downloads_all_its_parts(official: Official) -> None:
    common = ["--namespace", "canvas", "--table", "users", "--format", "csv"]
    official.run("snapshot", *common)
    assert len(official.parts()) == 3
    before = official.sandbox.service.counts.requests[Endpoint.JOB]
    official.run("snapshot", *common)
    # The second time the same job is there at once: one look at it for its objects, no waiting.
    assert official.sandbox.service.counts.requests[Endpoint.JOB] == before + 1
    assert len(list(official.folder.glob("downloads/job_*"))) == 1


@pytest.mark.parametrize(("format_name", "delimiter"), [("tsv", "\t"), ("csv", ",")])
def test_it_downloads_tables_of_text(official: Official, format_name: str, delimiter: str) -> None:
    parts = official.data("snapshot", "users", format_name)
    assert len(parts) == 3
    found: list[dict[str, Any]] = []
    for part in parts:
        text = io.StringIO(gzip.decompress(part).decode(), newline="")
        for row in csv.DictReader(text, delimiter=delimiter):
            assert row.pop("meta.ts") == instant_text(EARLIER)
            found.append({name.split(".")[1]: value for name, value in row.items()})
    assert found == [{**row, "id": str(row["id"])} for row in expected_users()]


def test_it_downloads_json_lines(official: Official) -> None:
    parts = official.data("snapshot", "users", "jsonl")
    lines = [json.loads(line) for part in parts for line in gzip.decompress(part).splitlines()]
    assert [line["key"] | line["value"] for line in lines] == expected_users()


def test_it_downloads_parquet(official: Official) -> None:
    parts = official.data("snapshot", "users", "parquet")
    assert len(parts) == 3
    rows = [row for part in parts for row in pq.read_table(io.BytesIO(part)).to_pylist()]
    found = [row["key"] | row["value"] for row in rows]
    for row in found:
        row["created_at"] = instant_text(row["created_at"])
    assert found == expected_users()


def test_it_downloads_an_increment(official: Official) -> None:
    since, until = instant_text(EARLIER), instant_text(COMMITTED_AT)
    (part,) = official.data("incremental", "everything", "jsonl", since=since, until=until)
    lines = [json.loads(line) for line in gzip.decompress(part).splitlines()]
    assert [(line["key"]["id"], line["meta"]["action"]) for line in lines] == [
        *((1, "U"), (2, "U"), (3, "U"), (4, "D"))
    ]
    assert lines[0]["value"]["text"] == NASTY_TEXT


def test_it_downloads_all_tables_of_a_namespace(official: Official) -> None:
    jobs = {
        table: official.caller.ended_job(table, format="jsonl")
        for table in ("everything", "nothing", "users")
    }
    official.run("snapshot", "--namespace", "canvas", "--table", "all")
    expected = {
        f"job_{job['id']}/{each['id'].partition('/')[2]}"
        for job in jobs.values()
        for each in job["objects"]
    }
    downloads = official.folder / "downloads"
    assert {str(path.relative_to(downloads)) for path in official.parts()} == expected
    assert len(expected) == 4


def test_it_downloads_the_logs(official: Official) -> None:
    official.caller.ended_job("web_logs", "canvas_logs", format="tsv")
    common = ["--namespace", "canvas_logs", "--table", "web_logs"]
    official.run("snapshot", *common, "--format", "tsv")
    (part,) = official.parts()
    assert len(gzip.decompress(part.read_bytes()).splitlines()) == 1 + 3


def test_its_parser_reads_every_type_from_condensed_tsv(
    official: Official, official_dap: Path
) -> None:
    job = official.caller.ended_job("everything", format="tsv", mode="condensed")
    data, schema = official.folder / "part.tsv", official.folder / "schema.json"
    text = official.caller.text(job)
    answer = official.caller.get("/dap/query/canvas/table/everything/schema").json()
    # It has no TSV type for a duration and for an object without fixed members.
    for name in ("length", "free"):
        text = _without_column(text, f"value.{name}")
        del answer["schema"]["properties"]["value"]["properties"][name]
    data.write_text(text, newline="")
    schema.write_text(json.dumps(answer))
    command = [str(official_dap.parent / "python"), str(READER)]
    done = subprocess.run(
        [*command, str(schema), str(data)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, second, third = map(json.loads, done.stdout.splitlines())
    expected = {
        "key.id": 1,
        "value.label": "a\tb",
        "value.small": -32768,
        "value.big": 9223372036854775807,
        "value.double": 1e300,
        "value.points": "-999.99",
        "value.flag": True,
        "value.at": "2023-10-23 01:02:03.120000",
        "value.day": "2024-02-29",
        "value.clock": "23:59:59.500000",
        "value.token": "123e4567-e89b-12d3-a456-426614174000",
        "value.text": NASTY_TEXT,
        "value.status": 404,
    }
    assert {name: first[name] for name in expected} == expected
    assert (second["value.text"], second["value.points"]) == ("", None)
    assert (third["value.any_number"], third["value.text"]) == (float("inf"), "NULL")


def _without_column(tsv: str, name: str) -> str:
    lines = [line.split("\t") for line in tsv.removesuffix("\n").split("\n")]
    place = lines[0].index(name)
    return "".join("\t".join(line[:place] + line[place + 1 :]) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--namespace", "mastery", "--table", "users"], "Namespace does not exist."),
        (["--namespace", "canvas", "--table", "coarses"], "Table does not exist."),
    ],
)
def test_it_tells_what_does_not_exist(official: Official, options: list[str], reason: str) -> None:
    done = official.attempt("snapshot", *options)
    assert done.returncode != 0
    assert reason in done.stdout + done.stderr


def test_it_understands_a_range_that_is_refused(official: Official) -> None:
    common = ["--namespace", "canvas", "--table", "users"]
    done = official.attempt("incremental", *common, "--since", "2036-01-01T00:00:00Z")
    assert done.returncode != 0
    assert "There is no data in the requested range." in done.stdout + done.stderr
