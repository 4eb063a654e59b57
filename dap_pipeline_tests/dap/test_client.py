from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dap_pipeline.dap import client as client_module
from dap_pipeline.dap import login as login_module
from dap_pipeline.dap import patience as patience_module
from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.limits import Endpoint
from dap_pipeline.dap.login import Credentials
from dap_pipeline.dap.models import CompleteSnapshot, PendingJob, TableName
from dap_pipeline.dap.patience import Patience
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    CancelledError,
    ConfigurationError,
    DapPipelineError,
    InvalidQueryError,
    NotFoundError,
    RateLimitedError,
    RequestForbiddenError,
    ServerError,
    UnknownTableError,
    UnreachableError,
    UnreadableAnswerError,
)
from dap_pipeline.settings import load_settings

from .parts import (
    COURSES,
    DATA,
    HASTY,
    JOB,
    LINKS,
    SCHEMA,
    SNAPSHOT,
    TABLES,
    LongQueue,
    WatchedStop,
    client_of,
    http_to,
)
from .scripted import LOGIN, LOST, Answer, ScriptedServer, Then, fails, says

WAITING = says({"id": "job-1", "status": "waiting"}, 202)
TABLE_LIST = says({"tables": ["users", "courses"]})


@pytest.fixture
def client(server: ScriptedServer, tmp_path: Path) -> DapClient:
    server.logs_in()
    return client_of(server.url, tmp_path)


def test_tables_are_listed_by_name(server: ScriptedServer, client: DapClient) -> None:
    server.on(TABLES, TABLE_LIST)
    assert client.list_tables("canvas", Stop()) == ("courses", "users")
    assert server.at(TABLES)[0].headers["authorization"] == "Bearer token-1"


def test_a_schema_is_given_with_its_version(server: ScriptedServer, client: DapClient) -> None:
    server.on(SCHEMA, says({"schema": {"type": "object"}, "version": 4}))
    schema = client.schema(COURSES, Stop())
    assert (schema.json_schema, schema.version) == ({"type": "object"}, 4)


def test_a_job_is_started_with_the_body_of_the_query(
    server: ScriptedServer, client: DapClient
) -> None:
    server.on(DATA, says({"id": "job-1", "status": "waiting"}, 202, Date=DATE))
    answered = client.start(COURSES, SNAPSHOT, Stop())
    assert answered.job == PendingJob(id="job-1", status="waiting")
    assert answered.server_time == datetime(2026, 11, 23, 12, tzinfo=UTC)
    (seen,) = server.at(DATA)
    assert (seen.method, seen.json) == ("POST", {"format": "parquet"})


DATE = "Mon, 23 Nov 2026 12:00:00 GMT"


def test_a_start_may_be_answered_by_a_job_that_is_complete(
    server: ScriptedServer, client: DapClient
) -> None:
    complete = {
        "id": "job-1",
        "status": "complete",
        "objects": [{"id": "job-1/a"}],
        "schema_version": 1,
        "at": "2026-11-23T08:00:00Z",
    }
    server.on(DATA, says(complete))
    assert isinstance(client.start(COURSES, SNAPSHOT, Stop()).job, CompleteSnapshot)


@pytest.mark.parametrize(
    ("job_id", "part"),
    [
        ("a/b", "a%2Fb"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("\u00fc", "%C3%BC"),
        ("%2f", "%252f"),
        ("../../etc", "..%2F..%2Fetc"),
    ],
)
def test_a_job_id_is_one_part_of_the_path_whatever_it_holds(
    server: ScriptedServer, client: DapClient, job_id: str, part: str
) -> None:
    server.on(f"/dap/job/{part}", says({"id": job_id, "status": "running"}))
    assert client.job(job_id, Stop()).job.id == job_id


def test_links_of_many_objects_come_in_one_call(server: ScriptedServer, client: DapClient) -> None:
    ids = [f"job-1/part-{number:05d}" for number in range(200)]
    urls = {i: {"url": f"https://store.example/{i}?sig"} for i in ids}
    server.on(LINKS, says({"urls": urls}))
    links = client.links(ids, Stop())
    assert {i: link.url for i, link in links.items()} == {i: u["url"] for i, u in urls.items()}
    (seen,) = server.at(LINKS)
    assert seen.json == [{"id": i} for i in ids]


Call = Callable[[DapClient, Stop], object]
CALLS: dict[str, tuple[str, Call, Answer]] = {
    "list": (TABLES, lambda c, s: c.list_tables("canvas", s), TABLE_LIST),
    "schema": (SCHEMA, lambda c, s: c.schema(COURSES, s), says({"schema": {}, "version": 1})),
    "start": (DATA, lambda c, s: c.start(COURSES, SNAPSHOT, s), WAITING),
    "poll": (JOB, lambda c, s: c.job("job-1", s), WAITING),
    "links": (LINKS, lambda c, s: c.links(["a"], s), says({"urls": {"a": {"url": "https://a"}}})),
}
TROUBLES = {
    "lost": LOST,
    "429": Answer(429, b""),
    "500": fails(500),
    "504 without wrapper": says({"message": "Endpoint request timed out"}, 504),
    "html": Answer(200, b"<html>", {"Content-Type": "text/html"}),
    "cut": Answer(200, b'{"id"', {"Content-Type": "application/json"}, 99, Then.CLOSE),
    "cut json": Answer(200, b'{"id"', {"Content-Type": "application/json"}),
    "another answer": says({"message": "hello"}),
    "redirect": Answer(302, headers={"Location": "/portal"}),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_repeated_after_what_may_pass(
    server: ScriptedServer, client: DapClient, call: str, trouble: str
) -> None:
    path, ask, good = CALLS[call]
    server.on(path, TROUBLES[trouble], TROUBLES[trouble], good)
    stop = WatchedStop()
    assert ask(client, stop)
    bodies = [seen.body for seen in server.at(path)]
    assert len(bodies) == 3
    assert len(set(bodies)) == 1


REFUSALS: dict[str, tuple[Answer, type[DapPipelineError]]] = {
    "400": (fails(400, "ValidationError"), InvalidQueryError),
    "403": (fails(403, "RequestTypeForbidden"), RequestForbiddenError),
}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_is_not_asked_for_twice(
    server: ScriptedServer, client: DapClient, call: str, refusal: str
) -> None:
    path, ask, _ = CALLS[call]
    answer, kind = REFUSALS[refusal]
    server.on(path, answer)
    with pytest.raises(kind):
        ask(client, Stop())


@pytest.mark.parametrize("call", ["list", "schema", "start"])
def test_a_table_that_dap_does_not_know_is_named(
    server: ScriptedServer, client: DapClient, call: str
) -> None:
    path, ask, _ = CALLS[call]
    server.on(path, fails(404, "ObjectNotFound", "No such thing.", kind="table"))
    with pytest.raises(UnknownTableError, match=r"^canvas[^ ]*: DAP answered 404: No such") as e:
        ask(client, Stop())
    assert ("canvas.courses" in str(e.value)) is (call != "list")


@pytest.mark.parametrize("call", ["poll", "links"])
def test_a_job_or_object_that_is_gone_is_not_found(
    server: ScriptedServer, client: DapClient, call: str
) -> None:
    path, ask, _ = CALLS[call]
    server.on(path, fails(404, "ObjectNotFound", kind="job"))
    with pytest.raises(NotFoundError) as caught:
        ask(client, Stop())
    assert caught.value.kind == "job"


def test_waits_grow_until_patience_is_at_its_end(server: ScriptedServer, tmp_path: Path) -> None:
    server.logs_in()
    server.always(TABLES, fails(500, message="Down."))
    patience = Patience(first_wait=0.02, longest_wait=10.0, total=0.5)
    stop = WatchedStop()
    began = time.monotonic()
    with pytest.raises(ServerError, match="Down"):
        client_of(server.url, tmp_path, patience=patience).list_tables("canvas", stop)
    assert len(server.at(TABLES)) == len(stop.waits) + 1
    for number, wait in enumerate(stop.waits):
        assert 0.5 <= wait / (0.02 * 2**number) <= 1.5
    assert 2 <= len(stop.waits) <= 6
    assert sum(stop.waits) <= 0.5
    assert time.monotonic() - began < 30.0


def test_the_wait_that_dap_asks_for_is_kept(server: ScriptedServer, client: DapClient) -> None:
    slow = says({"message": "slow down"}, 429, Retry_After="1")
    server.on(TABLES, slow, TABLE_LIST)
    stop = WatchedStop()
    began = time.monotonic()
    client.list_tables("canvas", stop)
    assert time.monotonic() - began >= 1.0
    assert stop.waits[0] == 1.0


def test_a_wait_longer_than_our_patience_is_not_begun(
    server: ScriptedServer, client: DapClient
) -> None:
    server.on(TABLES, says({}, 429, Retry_After="3600"))
    stop = WatchedStop()
    with pytest.raises(RateLimitedError):
        client.list_tables("canvas", stop)
    assert stop.waits == []


def test_a_refusal_for_the_rate_pauses_every_client_of_the_machine(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.logs_in()
    server.on(TABLES, says({}, 429, Retry_After="1"), TABLE_LIST, TABLE_LIST)
    one, two = client_of(server.url, tmp_path), client_of(server.url, tmp_path)
    began = time.monotonic()
    one.patience = Patience(total=0.0)
    with pytest.raises(RateLimitedError):
        one.list_tables("canvas", Stop())
    two.list_tables("canvas", Stop())
    assert time.monotonic() - began >= 1.0


def test_a_rest_longer_than_our_patience_fails_the_calls_of_others_too(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.logs_in()
    server.on(TABLES, says({}, 429, Retry_After="3600"))
    for words in ("429", "allows no list calls until"):
        with pytest.raises(RateLimitedError, match=words):
            client_of(server.url, tmp_path).list_tables("canvas", Stop())
    assert len(server.at(TABLES)) == 1


def test_time_in_the_queue_does_not_use_up_patience(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 5 job starts a minute the last of 119 tables waits 23 minutes for its first try."""
    server.logs_in()
    limiter = LongQueue(tmp_path, Endpoint.LIST)
    for module in (client_module, patience_module):
        monkeypatch.setattr(module, "time", limiter.clock)
    client = DapClient(http_to(server.url), Credentials("a", "b"), limiter, patience=HASTY)
    server.on(TABLES, fails(500), fails(500), fails(500), TABLE_LIST)
    assert client.list_tables("canvas", Stop()) == ("courses", "users")


def test_a_token_that_grew_old_in_the_queue_is_renewed_before_the_call(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on(LOGIN, *[says({"access_token": f"t{n}", "expires_in": 100.0}) for n in (1, 2)])
    server.on(TABLES, TABLE_LIST)
    limiter = LongQueue(tmp_path, Endpoint.LIST)
    monkeypatch.setattr(login_module, "time", limiter.clock)
    client = DapClient(http_to(server.url), Credentials("a", "b"), limiter, patience=HASTY)
    client.list_tables("canvas", Stop())
    assert server.at(TABLES)[0].headers["authorization"] == "Bearer t2"


def test_a_wrong_address_is_told_soon(tmp_path: Path) -> None:
    patience = Patience(first_wait=0.01, longest_wait=0.01, total=600.0, first_contact=0.1)
    client = client_of("http://127.0.0.1:1", tmp_path, patience=patience)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 did not answer"):
        client.list_tables("canvas", Stop())
    assert time.monotonic() - began < 60.0


def test_the_first_answer_of_all_brings_full_patience(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """The login may be the first answer, and the limit hit by the call that follows it."""
    server.logs_in()
    server.on(TABLES, Answer(429), TABLE_LIST)
    patience = Patience(first_wait=0.001, total=60.0, first_contact=0.0, rate_limit_wait=0.1)
    client = client_of(server.url, tmp_path, patience=patience)
    assert client.list_tables("canvas", Stop()) == ("courses", "users")


def test_a_stop_ends_the_wait_between_tries(server: ScriptedServer, tmp_path: Path) -> None:
    server.logs_in()
    server.on(TABLES, fails(500))
    stop = WatchedStop()
    client = client_of(
        server.url, tmp_path, patience=Patience(first_wait=300.0, longest_wait=300.0)
    )
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.list_tables, "canvas", stop)
        assert stop.waiting.wait(60)
        asked = time.monotonic()
        stop.set()
        assert isinstance(call.exception(60), CancelledError)
    assert time.monotonic() - asked < 30.0


def test_a_client_is_safe_to_share_between_threads(
    server: ScriptedServer, client: DapClient
) -> None:
    server.always(TABLES, TABLE_LIST)
    together = threading.Barrier(6)

    def ask(_: int) -> tuple[str, ...]:
        together.wait(60)
        return client.list_tables("canvas", Stop())

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(6))) == {("courses", "users")}
    assert len(server.at(LOGIN)) == 1


def test_an_unreadable_answer_is_told_without_its_content(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.logs_in()
    server.on(LINKS, says({"urls": {"a": {"uri": "https://store/?X-Amz-Signature=c0ffee"}}}))
    client = client_of(server.url, tmp_path, patience=Patience(total=0.0))
    with pytest.raises(UnreadableAnswerError) as caught:
        client.links(["a"], Stop())
    assert "c0ffee" not in str(caught.value)


def test_the_settings_make_a_client(tmp_path: Path) -> None:
    settings = load_settings(
        api_url="https://user:word@dap.example/",
        client_id="us#1",
        client_secret="s",
        shared_dir=tmp_path,
        retry_seconds=7.0,
    )
    client = DapClient.from_settings(settings)
    assert client.patience.total == 7.0
    assert client.http.base_url == "https://user:word@dap.example"
    assert (tmp_path / "limits.sqlite").exists()
    assert b"word" not in (tmp_path / "limits.sqlite").read_bytes()


def test_settings_with_a_broken_address_make_none(tmp_path: Path) -> None:
    settings = load_settings(
        api_url="https://[::1", client_id="us#1", client_secret="s", data_dir=tmp_path
    )
    with pytest.raises(ConfigurationError):
        DapClient.from_settings(settings)


def test_names_that_could_lead_elsewhere_never_reach_a_path(client: DapClient) -> None:
    with pytest.raises(UnknownTableError):
        client.schema(TableName("canvas", "../job/1"), Stop())
