from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dap_pipeline.dap.models import (
    CompleteIncremental,
    CompleteSnapshot,
    FailedJob,
    Format,
    IncrementalQuery,
    Job,
    Link,
    LinkList,
    Mode,
    ObjectRef,
    PendingJob,
    SnapshotQuery,
    TableList,
    TableName,
    Token,
    VersionedSchema,
    format_instant,
    namespace_name,
    parse_answer,
    parse_instant,
    parse_job,
)
from dap_pipeline.errors import (
    DapPipelineError,
    InvalidQueryError,
    UnknownJobStateError,
    UnknownTableError,
    UnreadableAnswerError,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT_TEXT = "2026-01-02T03:04:05Z"
OBJECTS = [{"id": "job-1/part-00000"}, {"id": "job-1/part-00001"}]
REFS = (ObjectRef(id="job-1/part-00000"), ObjectRef(id="job-1/part-00001"))
SNAPSHOT = {
    "id": "job-1",
    "status": "complete",
    "expires_at": AT_TEXT,
    "objects": OBJECTS,
    "schema_version": 3,
    "at": AT_TEXT,
}
INCREMENTAL = {
    "id": "job-1",
    "status": "complete",
    "objects": [],
    "schema_version": 1,
    "since": AT_TEXT,
    "until": AT_TEXT,
}
FAILED = {
    "id": "job-1",
    "status": "failed",
    "error": {"type": "ProcessingError", "uuid": "0-1", "message": "There is\nno data."},
}


def test_a_job_is_pending_while_it_waits_or_runs() -> None:
    for status in ("waiting", "running"):
        job = parse_job({"id": "job-1", "status": status, "expires_at": AT_TEXT})
        assert job == PendingJob(id="job-1", status=status, expires_at=AT)


def test_a_complete_snapshot_tells_its_objects_and_the_state_that_it_shows() -> None:
    job = parse_job(SNAPSHOT)
    assert job == CompleteSnapshot(id="job-1", objects=REFS, schema_version=3, at=AT, expires_at=AT)
    assert job.begun_at == AT - timedelta(hours=24)


def test_an_age_is_not_read_from_the_answer_and_an_impossible_beginning_is_unknown() -> None:
    job = parse_job({**SNAPSHOT, "age": "P1D", "expires_at": "0001-01-01T00:00:00Z"})
    assert isinstance(job, CompleteSnapshot)
    assert (job.age, job.begun_at) == (timedelta(), None)


def test_a_complete_incremental_job_may_have_no_objects_and_no_end() -> None:
    job = parse_job(INCREMENTAL)
    assert job == CompleteIncremental(
        id="job-1", objects=(), schema_version=1, since=AT, until=AT, expires_at=None
    )


def test_a_failed_job_tells_its_error_in_one_line() -> None:
    job = parse_job(FAILED)
    assert isinstance(job, FailedJob)
    assert (job.error.type, job.error.uuid) == ("ProcessingError", "0-1")
    assert job.error.message == "There is no data."


@pytest.mark.parametrize(
    "error", [None, "no object", [], {}, {"type": None, "uuid": 7, "message": {"a": 1}}]
)
def test_a_failed_job_without_a_proper_error_has_failed_all_the_same(error: object) -> None:
    job = parse_job({"id": "job-1", "status": "failed", "error": error})
    assert isinstance(job, FailedJob)
    assert (job.error.type, job.error.uuid, job.error.message) == ("", "", "")


def test_the_words_of_an_error_are_cut_and_can_always_be_written() -> None:
    error = {"message": "a" * 10_000, "type": "half a letter \ud800"}
    job = parse_job({"id": "job-1", "status": "failed", "error": error})
    assert isinstance(job, FailedJob)
    assert len(job.error.message) == 500
    assert job.error.type.encode("utf-8") == b"half a letter ?"


@pytest.mark.parametrize(
    "answer", [{"id": "job-1", "status": "running"}, SNAPSHOT, INCREMENTAL, FAILED]
)
def test_fields_that_no_document_names_are_ignored(answer: dict[str, Any]) -> None:
    new = {"started_at": AT_TEXT, "progress": 0.5}
    assert parse_job({**answer, **new}) == parse_job(answer)


@pytest.mark.parametrize("status", ["queued", "", "COMPLETE", "cancelled\n" * 20])
def test_a_state_that_no_document_names_is_an_error_of_its_own(status: str) -> None:
    with pytest.raises(UnknownJobStateError, match="unknown state") as caught:
        parse_job({"id": "job-1", "status": status})
    assert status[:10].strip() in str(caught.value)
    assert not caught.value.retryable


TOKEN = "eyJhbGciOi.very.secret"
LINK = "https://store.example/x?X-Amz-Signature=c0ffee"
MALFORMED: list[tuple[type[Any], Any]] = [
    (Token, {"token": TOKEN}),
    (Token, {"access_token": ""}),
    (Token, {"access_token": [TOKEN]}),
    (Token, {"access_token": TOKEN, "expires_in": TOKEN}),
    (Token, TOKEN),
    (LinkList, {"urls": {"a": {"url": LINK.replace("https", "ftp")}}}),
    (LinkList, {"urls": {"a": {"url": [LINK]}}}),
    (LinkList, {"urls": {LINK: {"uri": LINK}}}),
    (LinkList, {"urls": {"a": {"url": "https://[" + LINK}}}),
    (LinkList, {"urls": {"a": {"url": "https:///no-host?" + LINK}}}),
    (LinkList, {"urls": {TOKEN: None, LINK: None}}),
    (LinkList, [LINK]),
    (TableList, {"tables": [TOKEN, None]}),
    (TableList, {"tables": TOKEN}),
    (VersionedSchema, {"schema": LINK, "version": 1}),
    (VersionedSchema, {"schema": {}, "version": TOKEN}),
]


@pytest.mark.parametrize(("kind", "payload"), MALFORMED)
def test_a_malformed_answer_is_told_without_a_word_of_its_content(
    kind: type[Any], payload: object
) -> None:
    with pytest.raises(UnreadableAnswerError) as caught:
        parse_answer(kind, payload)
    text = str(caught.value)
    assert kind.__name__ in text
    for secret in (TOKEN, LINK, "X-Amz", "c0ffee", "very.secret"):
        assert secret not in text


def test_an_answer_that_is_wrong_all_over_is_told_briefly() -> None:
    with pytest.raises(UnreadableAnswerError) as caught:
        parse_answer(TableList, {"tables": [None] * 10_000})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("job", [SNAPSHOT, INCREMENTAL])
def test_a_complete_job_that_lacks_a_field_is_unreadable(job: dict[str, Any]) -> None:
    for field in set(job) - {"expires_at", "status"}:
        with pytest.raises(UnreadableAnswerError):
            parse_job({k: v for k, v in job.items() if k != field})


@pytest.mark.parametrize("payload", [None, [], 3, "waiting", {}, {"status": None}, {"status": {}}])
def test_what_has_no_status_is_no_job(payload: object) -> None:
    with pytest.raises(UnreadableAnswerError, match="no status"):
        parse_job(payload)


INSTANTS = {
    "2026-01-02T03:04:05Z": AT,
    "2026-01-02T03:04:05+00:00": AT,
    "2026-01-02T04:34:05+01:30": AT,
    "2026-01-01T22:04:05-05:00": AT,
    "2026-01-02T03:04:05.250Z": AT + timedelta(milliseconds=250),
    "2026-01-02T03:04:05.123456Z": AT + timedelta(microseconds=123456),
}


@pytest.mark.parametrize("text", INSTANTS)
def test_an_instant_may_have_z_an_offset_or_a_fraction_and_is_given_in_utc(text: str) -> None:
    job = parse_job({**SNAPSHOT, "at": text})
    assert isinstance(job, CompleteSnapshot)
    for instant in (job.at, parse_instant(text), parse_instant(f" {text} ")):
        assert instant == INSTANTS[text]
        assert instant.utcoffset() == timedelta()
        assert format_instant(instant).endswith("Z")


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-01-02", "2026-01-02T03:04:05", "0001-01-01T00:00:00+23:00", "9" * 99],
)
def test_what_is_no_instant_or_has_no_zone_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError, match="time zone"):
        parse_instant(text)
    with pytest.raises(UnreadableAnswerError):
        parse_job({**SNAPSHOT, "at": text})


def test_an_instant_is_written_as_dap_does() -> None:
    east = timezone(timedelta(hours=2))
    assert format_instant(AT) == AT_TEXT
    assert format_instant(AT.astimezone(east)) == AT_TEXT
    assert format_instant(AT + timedelta(microseconds=5)) == "2026-01-02T03:04:05.000005Z"


def test_a_query_leaves_out_what_was_not_asked_for() -> None:
    assert SnapshotQuery(Format.PARQUET).body() == {"format": "parquet"}
    assert IncrementalQuery(Format.JSONL, AT).body() == {"format": "jsonl", "since": AT_TEXT}
    assert SnapshotQuery(Format.TSV, Mode.CONDENSED).body() == {
        "format": "tsv",
        "mode": "condensed",
    }
    assert IncrementalQuery(Format.CSV, AT, AT, Mode.EXPANDED).body() == {
        "format": "csv",
        "since": AT_TEXT,
        "until": AT_TEXT,
        "mode": "expanded",
    }


def test_an_increment_that_ends_before_it_begins_or_has_no_zone_is_refused() -> None:
    with pytest.raises(InvalidQueryError, match="before"):
        IncrementalQuery(Format.CSV, AT, AT - timedelta(seconds=1))
    for since, until in ((AT.replace(tzinfo=None), None), (AT, AT.replace(tzinfo=None))):
        with pytest.raises(InvalidQueryError, match="time zone"):
            IncrementalQuery(Format.CSV, since, until)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "-r", "a b", "a\n", "é", "a" * 201, "a\0b"],
)
def test_a_name_that_could_lead_elsewhere_on_the_disk_is_refused(name: str) -> None:
    for namespace, table in ((name, "courses"), ("canvas", name)):
        with pytest.raises(UnknownTableError):
            TableName(namespace, table)


def test_names_of_tables_are_ordered_and_written_with_a_dot() -> None:
    names = [TableName("canvas_logs", "web_logs"), TableName("canvas", "users")]
    assert [str(name) for name in sorted(names)] == ["canvas.users", "canvas_logs.web_logs"]
    assert str(TableName("new-1", "t.v2_x")) == "new-1.t.v2_x"


def test_canvas_log_is_another_word_for_canvas_logs() -> None:
    assert namespace_name("canvas_log") == "canvas_logs"
    assert namespace_name(" Canvas_Log ") == "canvas_logs"
    assert namespace_name("canvas") == "canvas"


def test_token_and_link_are_in_no_picture() -> None:
    token = parse_answer(Token, {"access_token": TOKEN, "expires_in": 3600})
    links = parse_answer(LinkList, {"urls": {"a": {"url": LINK}}})
    assert links.urls["a"] == Link(url=LINK)
    for picture in (repr(token), str(token), repr(links), str(links)):
        assert TOKEN not in picture
        assert LINK not in picture


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([AT_TEXT, "complete", "failed", "running", LINK, "9" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
STATES = st.sampled_from(["waiting", "running", "complete", "failed", "other"])
FIELDS = ["id", "expires_at", "objects", "schema_version", "at", "since", "until", "error"]
JOBS = st.tuples(STATES, st.dictionaries(st.sampled_from(FIELDS), JSON)).map(
    lambda parts: {"status": parts[0], **parts[1]}
)


@given(payload=JSON | JOBS)
@settings(max_examples=150, deadline=None)
def test_whatever_is_answered_is_a_job_or_one_of_our_errors(payload: object) -> None:
    try:
        job: Job = parse_job(payload)
    except DapPipelineError as error:
        str(error).encode("utf-8")
    else:
        assert isinstance(job.id, str)


KINDS = st.sampled_from([Token, LinkList, TableList, VersionedSchema])
SHAPES = st.dictionaries(
    st.sampled_from(["access_token", "expires_in", "urls", "tables", "schema", "version"]), JSON
)


@given(kind=KINDS, payload=JSON | SHAPES)
@settings(max_examples=150, deadline=None)
def test_whatever_is_answered_is_what_was_asked_for_or_unreadable(
    kind: type[Any], payload: object
) -> None:
    try:
        assert isinstance(parse_answer(kind, payload), kind)
    except UnreadableAnswerError as error:
        str(error).encode("utf-8")
