from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.serve import RunningSandbox

from . import small_school
from .caller import Caller
from .small_school import COMMITTED_AT, EARLIER


def test_a_job_waits_runs_and_completes_on_the_second_poll(caller: Caller) -> None:
    first = caller.data("users", {"format": "jsonl"})
    assert first.status_code == 202
    assert first.json().keys() == {"id", "status", "expires_at"}
    assert first.json()["status"] == "waiting"
    caller.sandbox.service.jobs.wait(first.json()["id"])
    second = caller.get(f"/dap/job/{first.json()['id']}")
    assert (second.status_code, second.json()["status"]) == (202, "running")
    third = caller.get(f"/dap/job/{first.json()['id']}")
    assert (third.status_code, third.json()["status"]) == (200, "complete")


def test_a_complete_snapshot_has_the_documented_keys(caller: Caller) -> None:
    job = caller.ended_job("users", format="jsonl")
    assert job.keys() == {"id", "status", "expires_at", "objects", "schema_version", "at"}
    assert job["schema_version"] == 3
    assert job["at"] == "2026-11-20T00:00:00Z"
    assert [each.keys() for each in job["objects"]] == [{"id"}] * 3
    for number, each in enumerate(job["objects"]):
        job_id, _, name = each["id"].partition("/")
        assert job_id == job["id"]
        assert name.startswith(f"part-{number:05d}-")


def test_a_complete_increment_has_the_documented_keys(caller: Caller) -> None:
    job = caller.ended_job("everything", format="jsonl", since="2026-11-20T00:00:00.000Z")
    assert job.keys() == {
        *("id", "status", "expires_at", "objects", "schema_version", "since", "until")
    }
    assert (job["since"], job["until"]) == ("2026-11-20T00:00:00Z", "2026-11-20T08:00:00Z")


@pytest.mark.parametrize(
    ("format_name", "suffix"),
    [("tsv", ".tsv.gz"), ("csv", ".csv.gz"), ("jsonl", ".json.gz"), ("parquet", ".parquet")],
)
def test_file_names_end_with_their_format(caller: Caller, format_name: str, suffix: str) -> None:
    job = caller.ended_job("users", format=format_name)
    assert all(each["id"].endswith(suffix) for each in job["objects"])


def test_a_second_identical_query_gets_the_same_job(caller: Caller) -> None:
    job = caller.ended_job("users", format="tsv")
    again = caller.data("users", {"format": "tsv", "mode": "expanded"})
    assert again.status_code == 200
    assert again.json() == job


def test_asking_again_and_again_with_the_query_is_polling_too(caller: Caller) -> None:
    body = {"format": "tsv"}
    answers = [caller.data("users", body)]
    caller.sandbox.service.jobs.wait(answers[0].json()["id"])
    answers += [caller.data("users", body) for _ in range(2)]
    assert [each.json()["status"] for each in answers] == ["waiting", "running", "complete"]


def test_instants_written_differently_make_the_same_query(caller: Caller) -> None:
    job = caller.ended_job("users", format="tsv", since="2026-11-19T23:00:00Z")
    again = caller.data("users", {"format": "tsv", "since": "2026-11-20T00:00:00.000+01:00"})
    assert again.json()["id"] == job["id"]


@pytest.mark.parametrize(
    "other",
    [
        {"format": "csv"},
        {"format": "tsv", "mode": "condensed"},
        {"format": "tsv", "since": "2026-11-20T00:00:00Z"},
    ],
)
def test_a_different_query_gets_a_different_job(caller: Caller, other: dict[str, str]) -> None:
    job = caller.data("users", {"format": "tsv"}).json()
    assert caller.data("users", other).json()["id"] != job["id"]
    assert caller.data("everything", {"format": "tsv"}).json()["id"] != job["id"]


def test_a_repeated_snapshot_is_as_old_as_its_job(caller: Caller) -> None:
    job = caller.ended_job("users", format="tsv")
    newer = small_school.user(100, COMMITTED_AT)
    small_school.insert(caller.sandbox.service.store, "canvas", "users", [newer])
    assert caller.data("users", {"format": "tsv"}).json()["at"] == job["at"]
    assert caller.ended_job("users", format="csv")["at"] == "2026-11-20T08:00:00Z"


def test_a_job_and_its_objects_vanish_24_hours_after_its_start(caller: Caller) -> None:
    job = caller.ended_job("users", format="tsv")
    expires = datetime.fromisoformat(job["expires_at"])
    now = caller.sandbox.service.clock.now()
    assert timedelta(hours=23, minutes=55) < expires - now <= timedelta(hours=24)
    caller.sandbox.service.clock.advance(timedelta(hours=25))
    later = Caller(caller.sandbox)
    answer = later.get(f"/dap/job/{job['id']}")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "job")
    answer = later.post("/dap/object/url", job["objects"])
    assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "object")
    assert answer.json()["error"]["id"] == job["objects"][0]["id"]
    assert later.data("users", {"format": "tsv"}).json()["id"] != job["id"]


def test_files_of_expired_jobs_leave_the_disk(tmp_path: Path) -> None:
    with small_school.running(SandboxConfig(tmp_path)) as sandbox:
        job = Caller(sandbox).ended_job("users", format="tsv")
        assert [each.name for each in (tmp_path / "objects").iterdir()] == [job["id"]]
        sandbox.service.clock.advance(timedelta(hours=25))
        sandbox.service.jobs.forget_expired()
        assert list((tmp_path / "objects").iterdir()) == []


def test_a_job_takes_as_long_as_it_is_told_to(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path, job_seconds=600, job_polls=0)
    with small_school.running(config) as sandbox:
        caller = Caller(sandbox)
        job = caller.data("users", {"format": "tsv"}).json()
        sandbox.service.jobs.wait(job["id"])
        assert caller.get(f"/dap/job/{job['id']}").json()["status"] == "running"
        sandbox.service.clock.advance(timedelta(minutes=11))
        assert caller.get(f"/dap/job/{job['id']}").json()["status"] == "complete"


def test_a_snapshot_of_an_empty_table_has_no_objects(caller: Caller) -> None:
    job = caller.ended_job("nothing", format="tsv")
    assert job["objects"] == []
    assert job["at"] == "2026-11-20T08:00:00Z"
    assert caller.post("/dap/object/url", []).json() == {"urls": {}}


def test_an_empty_result_can_be_a_file_with_a_header_only(tmp_path: Path) -> None:
    config = SandboxConfig(tmp_path, empty_part=True)
    with small_school.running(config) as sandbox:
        caller = Caller(sandbox)
        text = caller.text(caller.ended_job("nothing", format="csv"))
        assert text == "key.id,value.name,value.created_at,value.workflow_state,meta.ts\n"
        assert caller.text(caller.ended_job("nothing", format="jsonl")) == ""
        (parquet,) = caller.files(caller.ended_job("nothing", format="parquet"))
        assert parquet[:4] == parquet[-4:] == b"PAR1"


def test_a_snapshot_holds_no_deleted_rows(caller: Caller) -> None:
    gone = small_school.user(7, COMMITTED_AT, "D")
    store = caller.sandbox.service.store
    small_school.delete(store, "canvas", "users", "id = 7")
    small_school.insert(store, "canvas", "users", [gone])
    job = caller.ended_job("users", format="csv")
    assert len(caller.links(job)) == 3
    increment = caller.ended_job("users", format="csv", since=EARLIER.isoformat())
    assert caller.text(increment).splitlines()[1:] == ["7,,,,2026-11-20T08:00:00Z,D"]


def test_logs_are_kept_for_30_days(sandbox: RunningSandbox) -> None:
    caller = Caller(sandbox)
    job = caller.ended_job("web_logs", "canvas_logs", format="csv")
    lines = caller.text(job).splitlines()[1:]
    assert [line.split(",")[1].rsplit("/", 1)[1] for line in lines] == ["0", "1", "29"]
