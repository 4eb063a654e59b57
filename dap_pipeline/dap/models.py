"""What goes to the Query API and comes from it, as typed values.

Unknown extra fields are ignored: the API documents none, but earlier servers sent some
(``started_at`` in a running job), and a new one must not stop a school's refresh.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from dap_pipeline.errors import (
    InvalidQueryError,
    UnknownJobStateError,
    UnknownTableError,
    UnreadableAnswerError,
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_FIELD = re.compile(r"[a-z_]{1,20}|[0-9]{1,6}")

NAMESPACE_ALIASES = {"canvas_log": "canvas_logs"}

JOB_LIFE = timedelta(hours=24)
"""A job and its objects vanish so long after it was begun."""


def namespace_name(name: str) -> str:
    """Give the namespace's own name; the docs sometimes write ``canvas_log``."""
    return NAMESPACE_ALIASES.get(name.strip().lower(), name.strip())


def check_name(name: str) -> None:
    """Let only names pass that can be those of a namespace or table; names become paths.

    Raises:
        UnknownTableError: no namespace or table of DAP can have the name.
    """
    if not _NAME.fullmatch(name):
        raise UnknownTableError(f"{name[:80]!r} is not the name of a namespace or table")


@dataclass(frozen=True, order=True)
class TableName:
    """A table within its namespace.

    Raises:
        UnknownTableError: a name that no table of DAP can have.
    """

    namespace: str
    table: str

    def __post_init__(self) -> None:
        for name in (self.namespace, self.table):
            check_name(name)

    def __str__(self) -> str:
        return f"{self.namespace}.{self.table}"


class Format(StrEnum):
    """The formats in which DAP hands out data."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    TSV = "tsv"


class Mode(StrEnum):
    """How text formats lay out nested objects of fixed members."""

    EXPANDED = "expanded"
    CONDENSED = "condensed"


@dataclass(frozen=True)
class SnapshotQuery:
    """Ask for the whole table."""

    format: Format
    mode: Mode | None = None

    def body(self) -> dict[str, str]:
        """Give the JSON body; absent fields are left out."""
        body = {"format": self.format.value}
        return body if self.mode is None else {**body, "mode": self.mode.value}


@dataclass(frozen=True)
class IncrementalQuery:
    """Ask for what changed after ``since``, up to ``until`` or to the newest commit.

    Raises:
        InvalidQueryError: an instant has no time zone, or the two are in the wrong order.
    """

    format: Format
    since: datetime
    until: datetime | None = None
    mode: Mode | None = None

    def __post_init__(self) -> None:
        if any(i is not None and i.tzinfo is None for i in (self.since, self.until)):
            raise InvalidQueryError("`since` or `until` has no time zone")
        if self.until is not None and self.until < self.since:
            raise InvalidQueryError("`until` lies before `since`")

    def body(self) -> dict[str, str]:
        """Give the JSON body; absent fields are left out."""
        body = {"format": self.format.value, "since": format_instant(self.since)}
        if self.until is not None:
            body["until"] = format_instant(self.until)
        return body if self.mode is None else {**body, "mode": self.mode.value}


Query = SnapshotQuery | IncrementalQuery


def format_instant(instant: datetime) -> str:
    """Write an instant as DAP does: UTC, ``Z``, a fraction only where there is one."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant with ``Z`` or an offset.

    Raises:
        InvalidQueryError: it is no instant, or it has no time zone.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
        if instant.tzinfo is not None:
            return _as_utc(instant)
    except ValueError:
        pass
    raise InvalidQueryError(
        f"{text[:80]!r} is not an instant",
        advice="Write it with a time zone, as in 2026-11-23T10:30:00Z or …+01:00.",
    )


def _as_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("its year in UTC is not between 1 and 9999") from None


Instant = Annotated[AwareDatetime, AfterValidator(_as_utc)]


def _as_words(value: object) -> str:
    """Give one line of sane length and letters; nothing for what is no text."""
    text = " ".join(value.split())[:500] if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode("utf-8")


Words = Annotated[str, BeforeValidator(_as_words)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DapFault(_Answer):
    """The error object of an answer or of a failed job.

    Its words are for people: what is missing or odd in them hides no failure.
    """

    type: Words = ""
    uuid: Words = ""
    message: Words = ""


class ObjectRef(_Answer):
    """An object that a job made: its id can be traded for a link while it exists."""

    id: str


class PendingJob(_Answer):
    """A job that is waiting or running."""

    id: str
    status: str
    expires_at: Instant | None = None


def _as_object(value: object) -> object:
    return value if isinstance(value, dict) else {}


class FailedJob(_Answer):
    """A job that ended without a result."""

    id: str
    expires_at: Instant | None = None
    error: Annotated[DapFault, BeforeValidator(_as_object)] = Field(default_factory=DapFault)


def _not_told(_: object) -> timedelta:
    return timedelta()


class _Complete(_Answer):
    id: str
    objects: tuple[ObjectRef, ...]
    schema_version: int
    expires_at: Instant | None = None
    age: Annotated[timedelta, BeforeValidator(_not_told)] = timedelta()
    """How old it was when it was asked for; zero for a new one, and where DAP does not tell."""

    @property
    def begun_at(self) -> datetime | None:
        """When the job was begun, by DAP's clock; None where DAP does not tell."""
        try:
            return None if self.expires_at is None else self.expires_at - JOB_LIFE
        except OverflowError:
            return None


class CompleteSnapshot(_Complete):
    """A finished snapshot; ``at`` identifies the state of the table."""

    at: Instant


class CompleteIncremental(_Complete):
    """A finished incremental query; its ``until`` is the next one's ``since``."""

    since: Instant
    until: Instant


CompleteJob = CompleteSnapshot | CompleteIncremental
Job = PendingJob | FailedJob | CompleteJob


class VersionedSchema(_Answer):
    """A table's JSON Schema (2020-12) and its version."""

    json_schema: dict[str, Any] = Field(alias="schema")
    version: int


class TableList(_Answer):
    """The names of a namespace's tables."""

    tables: tuple[str, ...]


def _with_host(url: str) -> str:
    if not urlsplit(url).hostname:
        raise ValueError("no host")
    return url


class Link(_Answer):
    """A pre-signed address; whoever has it can read the object."""

    url: Annotated[str, AfterValidator(_with_host)] = Field(pattern=r"^https?://", repr=False)


class LinkList(_Answer):
    """Links by object id."""

    urls: dict[str, Link]


class Token(_Answer):
    """The answer to a login."""

    access_token: str = Field(repr=False, min_length=1)
    expires_in: float | None = None


A = TypeVar("A", bound=BaseModel)


def parse_answer(kind: type[A], payload: object) -> A:
    """Read a JSON answer as the given model.

    Raises:
        UnreadableAnswerError: a field is missing or of another type.
    """
    try:
        return kind.model_validate(payload)
    except ValidationError as error:
        # Only places and reasons, never values: an answer may hold a token or a link.
        all_problems = error.errors(include_input=False, include_url=False)
        problems = "; ".join(f"{_place(e['loc'])}: {e['type']}" for e in all_problems[:5])
        raise UnreadableAnswerError(f"DAP's answer is not a {kind.__name__}: {problems}") from None


def _place(parts: tuple[int | str, ...]) -> str:
    """Name a place in an answer by our own words; other keys may be as secret as values."""
    names = (str(part) if _FIELD.fullmatch(str(part)) else "…" for part in parts)
    return ".".join(names) or "answer"


def parse_job(payload: object) -> Job:
    """Read a job in any of its documented states.

    Raises:
        UnknownJobStateError: the status is none of waiting, running, complete, failed.
        UnreadableAnswerError: the answer is no job.
    """
    status = payload.get("status") if isinstance(payload, dict) else None
    match status:
        case "waiting" | "running":
            return parse_answer(PendingJob, payload)
        case "failed":
            return parse_answer(FailedJob, payload)
        case "complete" if isinstance(payload, dict) and "at" in payload:
            return parse_answer(CompleteSnapshot, payload)
        case "complete":
            return parse_answer(CompleteIncremental, payload)
        case str():
            raise UnknownJobStateError(f"the job is in the unknown state {status[:40]!r}")
        case _:
            raise UnreadableAnswerError("DAP's answer is not a job: it has no status")
