"""Reads the bodies of requests and refuses what the API refuses."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import UnionType
from typing import Any, TypeVar

from . import errors
from .clock import instant_text
from .errors import ApiError, Location

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
Choice = TypeVar("Choice", bound=enum.Enum)
_MOST_HOURS = 24 * 366
_MOST_STEPS = 1000
_MOST_ROWS = 100_000
_BLANK = re.compile(r"[ \t\n\r]*")


class Format(enum.Enum):
    """The format of a job's files."""

    TSV = "tsv"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Mode(enum.Enum):
    """How nested objects lie in TSV and CSV; DAP names no default, `expanded` is what is seen."""

    EXPANDED = "expanded"
    CONDENSED = "condensed"


@dataclass(frozen=True)
class Query:
    """A snapshot query, or an incremental one if `since` is set."""

    format: Format
    mode: Mode = Mode.EXPANDED
    since: datetime | None = None
    until: datetime | None = None

    def text(self) -> str:
        """Write the query in one canonical way: equal queries give equal texts."""
        return json.dumps(
            {
                "format": self.format.value,
                "mode": self.mode.value,
                "since": None if self.since is None else instant_text(self.since),
                "until": None if self.until is None else instant_text(self.until),
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Query:
        """Read back what `text` wrote."""
        fields = json.loads(text)
        since, until = fields["since"], fields["until"]
        return cls(
            Format(fields["format"]),
            Mode(fields["mode"]),
            None if since is None else datetime.fromisoformat(since),
            None if until is None else datetime.fromisoformat(until),
        )


@dataclass(frozen=True)
class _Member:
    """A property of the body and where its name and its value stand."""

    value: Any
    name_at: Location
    value_at: Location


def parse_query(body: bytes) -> Query:
    """Read the body of `POST …/data`; raises ApiError 400 with the place of the fault."""
    text, document = _parse_json(body)
    if not isinstance(document, dict):
        raise _fault("The body must be a JSON object.", text, 0)
    members = dict(_members(text))
    if unknown := members.keys() - {"format", "mode", "since", "until"}:
        name = min(unknown, key=lambda each: members[each].name_at.character)
        raise errors.validation(f"Unknown property: {name!r}.", members[name].name_at)
    if "format" not in members:
        raise _fault("The property format is missing.", text, 0)
    if "until" in members and "since" not in members:
        message = "The property until is only allowed together with since."
        raise errors.validation(message, members["until"].name_at)
    return Query(
        _choice(Format, members["format"], "format"),
        _choice(Mode, members["mode"], "mode") if "mode" in members else Mode.EXPANDED,
        _instant(members["since"], "since") if "since" in members else None,
        _instant(members["until"], "until") if "until" in members else None,
    )


def parse_object_ids(body: bytes) -> list[str]:
    """Read the body of `POST /object/url`, a JSON array of `{"id": …}`; raises ApiError 400."""
    text, document = _parse_json(body)
    start = _skip_blank(text, 0)
    if not isinstance(document, list):
        raise _fault("The body must be a JSON array.", text, 0)
    identifiers = []
    position = start + 1
    for item in document:
        position = _skip_blank(text, position)
        identifiers.append(_object_id(item, text, position))
        _, position = json.JSONDecoder().raw_decode(text, position)
        position = _skip_blank(text, position) + 1
    return identifiers


def parse_advance(body: bytes) -> tuple[float, int]:
    """Read hours and steps from the body of `POST /sandbox/advance`; raises ApiError 400."""
    text, document = _parse_json(body or b"{}")
    if not isinstance(document, dict) or document.keys() - {"hours", "steps"}:
        raise _fault("The body must be an object with hours and steps.", text, 0)
    hours, steps = document.get("hours", 4), document.get("steps", 1)
    if not _is_number(hours, int | float) or not 0 <= hours <= _MOST_HOURS:
        raise _fault(f"hours must be a number from 0 to {_MOST_HOURS}.", text, 0)
    if not _is_number(steps, int) or not 1 <= steps <= _MOST_STEPS:
        raise _fault(f"steps must be a whole number from 1 to {_MOST_STEPS}.", text, 0)
    return float(hours), int(steps)


def parse_change(body: bytes) -> tuple[str, str, int]:
    """Read table, change and rows from the body of `POST /sandbox/change`; raises ApiError 400."""
    text, document = _parse_json(body)
    if not isinstance(document, dict) or document.keys() - {"table", "change", "rows"}:
        raise _fault("The body must be an object with table, change and rows.", text, 0)
    table, change, rows = document.get("table"), document.get("change"), document.get("rows", 1)
    if not isinstance(table, str) or not isinstance(change, str):
        raise _fault("table and change must be texts.", text, 0)
    if not _is_number(rows, int) or not 0 <= rows <= _MOST_ROWS:
        raise _fault(f"rows must be a whole number from 0 to {_MOST_ROWS}.", text, 0)
    return table, change, int(rows)


def _is_number(value: Any, kind: type | UnionType) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _object_id(item: Any, text: str, position: int) -> str:
    if isinstance(item, dict) and item.keys() == {"id"} and isinstance(item["id"], str):
        # JSON can spell texts that are no Unicode; no object is called so.
        return item["id"].encode("utf-8", "replace").decode()
    raise _fault('An object is named as {"id": "…"} and nothing else.', text, position)


def _parse_json(body: bytes) -> tuple[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        start = body[: error.start].decode("utf-8", "replace")
        raise _fault("The body is not UTF-8.", start, len(start)) from None
    try:
        return text, json.loads(text)
    except json.JSONDecodeError as error:
        location = Location(error.lineno, error.colno, error.pos + 1)
        raise errors.validation(f"The body is not JSON: {error.msg}.", location) from None
    except RecursionError:
        raise _fault("The body is nested too deeply.", text, 0) from None


def _members(text: str) -> Iterator[tuple[str, _Member]]:
    """Walk the properties of the one object that a valid JSON text holds."""
    position = _skip_blank(text, _skip_blank(text, 0) + 1)
    while text[position] == '"':
        name_at = Location.at(text, position)
        name, position = json.JSONDecoder().raw_decode(text, position)
        position = _skip_blank(text, _skip_blank(text, position) + 1)
        value_at = Location.at(text, position)
        value, position = json.JSONDecoder().raw_decode(text, position)
        yield name, _Member(value, name_at, value_at)
        position = _skip_blank(text, _skip_blank(text, position) + 1)
        if position >= len(text):
            return


def _skip_blank(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    return found.end() if found else position


def _fault(message: str, text: str, position: int) -> ApiError:
    return errors.validation(message, Location.at(text, position))


def _choice(kind: type[Choice], member: _Member, name: str) -> Choice:
    try:
        return kind(member.value)
    except ValueError:
        known = ", ".join(choice.value for choice in kind)
        raise errors.validation(f"{name} must be one of {known}.", member.value_at) from None


def _instant(member: _Member, name: str) -> datetime:
    if isinstance(member.value, str) and _INSTANT.fullmatch(member.value):
        try:
            return datetime.fromisoformat(member.value).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # the shape is right, the date is not
    raise errors.validation(f"{name} must be a date-time with time zone.", member.value_at)
