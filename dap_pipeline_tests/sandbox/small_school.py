"""A hand-made school of a few tables, known down to each value."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from dap_pipeline.sandbox.app import AdvanceSchool
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.dialect import quoted
from dap_pipeline.sandbox.interceptors import Interceptor
from dap_pipeline.sandbox.serve import RunningSandbox, running_sandbox
from dap_pipeline.sandbox.store import FILE_NAME, Store, naive

COMMITTED_AT = datetime(2026, 11, 20, 8, tzinfo=UTC)
EARLIER = COMMITTED_AT - timedelta(hours=8)
USERS = 60
TEXT = {"type": "string"}
INSTANT = {"type": "string", "format": "date-time"}


def table_schema(key: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Write the JSON Schema of a table as `/schema` gives it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "meta": _object({"ts": INSTANT, "action": {"type": "string", "enum": ["U", "D"]}}),
            "key": _object(key) | {"required": list(key)},
            "value": _object(value),
        },
        "additionalProperties": False,
        "required": ["key"],
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


STATE = {"type": "string", "enum": ["registered", "deleted"]}
USER_SCHEMA = table_schema(
    {"id": {"type": "integer", "format": "int64"}},
    {"name": TEXT, "created_at": INSTANT, "workflow_state": STATE},
)
LOG_SCHEMA = table_schema({"id": {"type": "string", "format": "uuid"}}, {"url": TEXT})
NESTED = _object(
    {
        "plain": TEXT,
        "number": {"type": "integer", "format": "int32"},
        "deep": _object({"seen_at": INSTANT, "ratio": {"type": "number"}}),
    }
)
EVERYTHING_SCHEMA = table_schema(
    {"id": {"type": "integer", "format": "int64"}},
    {
        "label": TEXT,
        "small": {"type": "integer", "format": "int16"},
        "medium": {"type": "integer", "format": "int32"},
        "big": {"type": "integer", "format": "int64"},
        "any_integer": {"type": "integer"},
        "status": {"type": "integer", "enum": [200, 404]},
        "single": {"type": "number", "format": "float32"},
        "double": {"type": "number", "format": "float64"},
        "any_number": {"type": "number"},
        "points": {
            "type": "number",
            "multipleOf": 0.01,
            "exclusiveMinimum": -1000,
            "exclusiveMaximum": 1000,
        },
        "flag": {"type": "boolean"},
        "at": INSTANT,
        "day": {"type": "string", "format": "date"},
        "clock": {"type": "string", "format": "time"},
        "length": {"type": "string", "format": "duration"},
        "token": {"type": "string", "format": "uuid"},
        "text": {"oneOf": [{"type": "string", "const": "__dap_oversized_truncated__"}, TEXT]},
        "address": {
            "oneOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]
        },
        "free": {"type": "object"},
        "nested": NESTED,
        "words": {"type": "array", "items": TEXT},
        "steps": {"type": "array", "items": _object({"at": INSTANT, "name": TEXT})},
    },
)


@dataclass(frozen=True)
class Row:
    """A stored row: its values by field name, when it was committed and how."""

    values: dict[str, Any]
    committed_at: datetime = COMMITTED_AT
    action: str = "U"


NASTY_TEXT = 'tab\there, "quoted",\nback\\slash\r\vé\u2028 NULL \\N \b\f end\x01'
EVERYTHING = [
    Row(
        {
            "id": 1,
            "label": "a\tb",
            "small": -32768,
            "medium": 2147483647,
            "big": 9223372036854775807,
            "any_integer": -1,
            "status": 404,
            "single": 0.1,
            "double": 1e300,
            "any_number": -0.5,
            "points": Decimal("-999.99"),
            "flag": True,
            "at": datetime(2023, 10, 23, 1, 2, 3, 120000),
            "day": date(2024, 2, 29),
            "clock": time(23, 59, 59, 500000),
            "length": "P1DT2H",
            "token": "123e4567-e89b-12d3-a456-426614174000",
            "text": NASTY_TEXT,
            "address": "2001:db8::1",
            "free": '{"a": [1, null],\n "b\\n": "x"}',
            "nested": {
                "plain": 'multi-\nline "x"\\',
                "number": None,
                "deep": {"seen_at": datetime(2020, 1, 1), "ratio": 2.5},
            },
            "words": ["", None, "a,b"],
            "steps": [{"at": datetime(2021, 2, 3, 4, 5, 6), "name": None}, None],
        }
    ),
    Row({"id": 2, "label": "", "text": "", "flag": False, "words": [], "nested": None}),
    Row(
        {
            "id": 3,
            "label": "NULL",
            "double": float("nan"),
            "any_number": float("inf"),
            "single": float("-inf"),
            "text": "NULL",
            "nested": {"plain": None, "number": None, "deep": {"seen_at": None, "ratio": None}},
        }
    ),
    Row({"id": 4}, action="D"),
]


def build(store: Store, as_of: datetime) -> None:
    """Fill a store with the hand-made school; its newest commit is COMMITTED_AT."""
    store.create_table("canvas", "users", USER_SCHEMA, 3)
    store.create_table("canvas", "everything", EVERYTHING_SCHEMA)
    store.create_table("canvas", "nothing", USER_SCHEMA)
    store.create_table("canvas_logs", "web_logs", LOG_SCHEMA)
    insert(store, "canvas", "users", [user(number) for number in range(1, USERS + 1)])
    insert(store, "canvas", "everything", EVERYTHING)
    insert(store, "canvas_logs", "web_logs", [log(days) for days in (0, 1, 29, 31, 40)])
    store.commit_school(COMMITTED_AT)


@contextlib.contextmanager
def running(
    config: SandboxConfig,
    *,
    advance: AdvanceSchool | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Iterator[RunningSandbox]:
    """Run a sandbox over the hand-made school, whose file is a copy of one that was built once."""
    file = config.folder / FILE_NAME
    if not file.exists():
        config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(_built())
    with running_sandbox(config, advance=advance, interceptors=interceptors) as sandbox:
        yield sandbox


@functools.cache
def _built() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        with Store(Path(folder)) as store:
            build(store, COMMITTED_AT)
        return (Path(folder) / FILE_NAME).read_bytes()


def user(number: int, committed_at: datetime = EARLIER, action: str = "U") -> Row:
    """Make a row of canvas.users; a deleted one has its key only."""
    values: dict[str, Any] = {"id": number}
    if action == "U":
        created = datetime(2026, 1, 1) + timedelta(days=number)
        values |= {"name": f"User {number}", "created_at": created, "workflow_state": "registered"}
    return Row(values, committed_at, action)


def log(days_ago: int) -> Row:
    """Make a row of canvas_logs.web_logs."""
    identifier = f"00000000-0000-4000-8000-{days_ago:012d}"
    values = {"id": identifier, "url": f"https://school.example/{days_ago}"}
    return Row(values, COMMITTED_AT - timedelta(days=days_ago))


def insert(store: Store, namespace: str, name: str, rows: list[Row]) -> None:
    """Insert rows in one commit."""
    table = store.table(namespace, name)
    assert table is not None
    with store.transaction() as cursor:
        for row in rows:
            columns = [*map(quoted, row.values), "meta_ts", "meta_action"]
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT INTO {table.sql_name} ({', '.join(columns)}) VALUES ({marks})"
            values = [*row.values.values(), naive(row.committed_at), row.action]
            cursor.execute(statement, values)


def delete(store: Store, namespace: str, name: str, condition: str) -> None:
    """Take rows out of a table without a trace, to make room for their next version."""
    with store.transaction() as cursor:
        cursor.execute(f"DELETE FROM {quoted(namespace)}.{quoted(name)} WHERE {condition}")
