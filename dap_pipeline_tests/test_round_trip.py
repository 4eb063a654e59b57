"""Every kind of value, from the service's store to the warehouse's view, by both source formats."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.engine import Engine
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.encode_parquet import ParquetTimestamps
from dap_pipeline.sandbox.serve import RunningSandbox, running_sandbox
from dap_pipeline.sandbox.store import Store
from dap_pipeline.settings import Settings, load_settings
from dap_pipeline.warehouse.build import build_warehouse
from dap_pipeline_tests.sandbox.small_school import COMMITTED_AT, INSTANT, TEXT, table_schema

TABLE = TableName("canvas", "values")
NESTED = {
    "type": "object",
    "properties": {
        "plain": TEXT,
        "number": {"type": "integer", "format": "int64"},
        "deep": {
            "type": "object",
            "properties": {"seen_at": INSTANT, "ratio": {"type": "number"}},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
SCHEMA = table_schema(
    # A key of two columns, neither called id, one of them an SQL keyword.
    {"group": TEXT, "number": {"type": "integer", "format": "int64"}},
    {
        "select": TEXT,
        "order": {"type": "integer", "format": "int16"},
        "table": {"type": "integer", "format": "int32"},
        "from": {"type": "integer", "format": "int64"},
        "any_integer": {"type": "integer"},
        "status": {"type": "integer", "enum": [200, 404]},
        "state": {"type": "string", "enum": ["active", "deleted", "__dap_unspecified__"]},
        "single": {"type": "number", "format": "float32"},
        "double": {"type": "number", "format": "float64"},
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
        "address": {"oneOf": [{"type": "string", "format": f} for f in ("ipv4", "ipv6")]},
        "body": {"oneOf": [{"type": "string", "const": "__dap_oversized_truncated__"}, TEXT]},
        "free": {"type": "object"},
        "nested": NESTED,
        "words": {"type": "array", "items": TEXT},
        "steps": {"type": "array", "items": NESTED},
    },
)
# SQL of values by column; every value becomes a row of its own, all other columns NULL there.
VALUES = {
    "select": [
        "''", "' '", "'NULL'", r"'\N'", "'🎓👩🏽‍🔬'", "'שלום עולם'", "'مرحبا'", "'é' || chr(769)",
        "'a' || chr(10) || 'b'", "'a' || chr(13) || chr(10) || 'b'", "'a' || chr(9) || 'b'",
        "'say \"x\"'", r"'back\slash \n \t \\'", "'it''s, ok'", "repeat('long ', 20000)", "chr(1)",
        "'__dap_oversized_truncated__'", "chr(8232)",
    ],
    "order": ["-32768", "32767", "0"],
    "table": ["-2147483648", "2147483647"],
    "from": ["-9223372036854775808", "9223372036854775807", "9007199254740993", "-1"],
    "any_integer": ["-9223372036854775808", "9223372036854775807"],
    "status": ["200", "404"],
    "state": ["'active'", "'__dap_unspecified__'"],
    "single": ["0.1", "'nan'", "'inf'", "'-inf'", "3.4e38", "-0.0"],
    "double": ["0.1", "'nan'", "'inf'", "'-inf'", "1.7976931348623157e308", "5e-324", "-0.0"],
    "points": ["-999.99", "999.99", "0.01", "0"],
    "flag": ["true", "false"],
    "at": [
        "'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'", "'12345-06-07 08:09:10.123456'",
        "'1969-12-31 23:59:59.5'", "'2023-10-23 01:02:03'", "'2024-02-29 12:00:00.000001'",
    ],
    "day": ["'0001-01-01'", "'9999-12-31'", "'12345-06-07'", "'2024-02-29'"],
    "clock": ["'00:00:00'", "'23:59:59.999999'"],
    "length": ["'P1DT2H'", "'PT0S'"],
    "token": ["'123e4567-e89b-12d3-a456-426614174000'"],
    "address": ["'192.0.2.1'", "'2001:db8::1'"],
    "body": ["''", "'__dap_oversized_truncated__'", "'<p>x</p>' || chr(10)"],
    "free": ["'{}'", """'{"a":[1,null,"x"],"b":{"c":1.5}}'"""],
    "nested": [
        "{'plain': '', 'number': -9223372036854775808, 'deep': {'seen_at': NULL, 'ratio': 'nan'}}",
        "{'plain': 'a' || chr(10), 'number': NULL,"
        " 'deep': {'seen_at': TIMESTAMP '0001-01-01', 'ratio': 1.5}}",
        "{'plain': 'only', 'number': NULL, 'deep': NULL}",
    ],
    "words": ["[]", "['']", "['a', NULL, 'b,\"c\"']", "['🎓', 'שלום', chr(10)]"],
    "steps": [
        "[]",
        "[{'plain': 'x', 'number': 1, 'deep': {'seen_at': TIMESTAMP '2021-02-03', 'ratio': 0.5}}]",
    ],
}  # fmt: skip


def build(store: Store, as_of: datetime) -> None:
    store.create_table("canvas", "values", SCHEMA)
    rows = [(column, sql) for column, values in VALUES.items() for sql in values]
    with store.transaction() as cursor:
        cursor.execute(
            """INSERT INTO canvas."values" ("group", number, meta_ts, meta_action)"""
            " VALUES ('all null', 0, ?, 'U')",
            [COMMITTED_AT.replace(tzinfo=None)],
        )
        for number, (column, sql) in enumerate(rows, start=1):
            cursor.execute(
                f'INSERT INTO canvas."values" ("group", number, "{column}", meta_ts, meta_action)'
                f" VALUES ('{column}', {number}, {sql}, ?, 'U')",
                [COMMITTED_AT.replace(tzinfo=None)],
            )
    store.commit_school(COMMITTED_AT)


@pytest.fixture(scope="module", params=list(ParquetTimestamps), ids=lambda p: p.name.lower())
def sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSandbox]:
    config = SandboxConfig(
        tmp_path_factory.mktemp("school"),
        rate_limits=False,
        rows_per_part=20,
        parquet_timestamps=request.param,
    )
    with running_sandbox(config, build=build) as running:
        yield running


def settings_for(sandbox: RunningSandbox, folder: Path, source: str) -> Settings:
    return load_settings(
        api_url=sandbox.url,
        client_id=sandbox.client_id,
        client_secret=sandbox.client_secret,
        data_dir=folder,
        source_format=source,
    )


def stored(sandbox: RunningSandbox, column: str) -> list[tuple[Any, ...]]:
    """Give the texts of a column's values as they are in the service's store."""
    with sandbox.service.store.cursor() as cursor:
        return cursor.execute(
            f'SELECT number, CAST("{column}" AS VARCHAR) FROM canvas."values" ORDER BY number'
        ).fetchall()


def shown(warehouse: Path, column: str, cast: str) -> list[tuple[Any, ...]]:
    """Give the same texts as they are in the view."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(
            f'SELECT number, {cast.format(column)} FROM canvas."values" ORDER BY number'
        ).fetchall()


# What the lake keeps as text, or in UTC, reads like the store's own type after this cast.
CASTS = {
    "at": 'CAST("{}" AS TIMESTAMP)::VARCHAR',
    "clock": 'CAST("{}" AS TIME)::VARCHAR',
}


@pytest.mark.slow
@pytest.mark.parametrize("source", ["parquet", "jsonl"])
def test_every_value_arrives_in_the_view_as_it_was_in_the_service(
    sandbox: RunningSandbox, tmp_path: Path, source: str
) -> None:
    settings = settings_for(sandbox, tmp_path, source)
    with Engine.open(settings) as engine:
        result = engine.load(TABLE)
        build_warehouse(engine.lake, settings.warehouse_file)
    assert result.table.rows == sum(len(values) for values in VALUES.values()) + 1
    for column in ["group", *VALUES]:
        cast = CASTS.get(column, 'CAST("{}" AS VARCHAR)')
        expected = stored(sandbox, column)
        assert any(text is not None for _, text in expected), column
        found = shown(settings.warehouse_file, column, cast)
        if column in ("nested", "steps"):
            # Instants have a time zone in the view, and with it a suffix in their text.
            found = [(n, t and t.replace("+00'", "'").replace("+00,", ",")) for n, t in found]
        assert found == expected, column


@pytest.mark.slow
def test_polars_and_arrow_read_the_rows_of_the_view(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    settings = settings_for(sandbox, tmp_path, "parquet")
    with Engine.open(settings) as engine:
        engine.load(TABLE)
        build_warehouse(engine.lake, settings.warehouse_file)
        folder = str(engine.lake.folder(TABLE))
    lazy = pl.scan_delta(folder).sort("number").collect().to_arrow()
    arrow = DeltaTable(folder).to_pyarrow_table()
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in (("by_polars", lazy), ("by_arrow", arrow)):
            connection.register(name, table)
            for column in ["group", *VALUES]:
                read = f'SELECT number, "{column}"::VARCHAR FROM {{}} ORDER BY number'
                ours = connection.execute(read.format('canvas."values"')).fetchall()
                assert connection.execute(read.format(name)).fetchall() == ours, (name, column)
