"""A lake that follows the embedded service over HTTP, load by load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from pydantic import SecretStr

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import LoadMode, LoadResult, PublishedTable
from dap_pipeline.lake.sql import identifier, literals
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import Settings, load_settings

USERS = TableName("canvas", "users")
WEB_LOGS = TableName("canvas_logs", "web_logs")


def settings_for(sandbox: RunningSandbox, folder: Path, **more: Any) -> Settings:
    """Give settings that lead to the service, in haste."""
    return load_settings(
        api_url=sandbox.url,
        client_id=sandbox.client_id,
        client_secret=SecretStr(sandbox.client_secret),
        data_dir=folder / "data",
        creates_per_minute=10_000,
        retry_wait=0.01,
        job_retry_wait=0.01,
        **more,
    )


@dataclass(frozen=True)
class Follower:
    """An engine on the service, and what the service itself knows."""

    sandbox: RunningSandbox
    engine: Engine

    def load(self, mode: LoadMode = LoadMode.AUTO, name: TableName = USERS) -> LoadResult:
        """Load a table."""
        return self.engine.load(name, mode=mode)

    def change(self, what: str, rows: int = 1, name: TableName = USERS, hours: float = 4) -> None:
        """Let time pass, then change a table."""
        self.sandbox.service.clock.advance(_hours(hours))
        self.sandbox.life.make(str(name), what, rows)

    def pass_time(self, hours: float) -> None:
        """Let time pass, in which nothing is committed."""
        self.sandbox.service.clock.advance(_hours(hours))

    def table(self, name: TableName = USERS) -> PublishedTable:
        """Give the published version."""
        found = self.engine.lake.table(name)
        assert found is not None
        return found

    def check(self, name: TableName = USERS) -> PublishedTable:
        """Compare key and commit time of every row with the truth, which hardly differ by luck."""
        published, truth = self.table(name), self.sandbox.truth(str(name))
        key = ", ".join(identifier(field.name) for field in truth.key)
        found = rows_of(published.files, f"{key}, epoch_us(meta_ts)")
        width = len(truth.key)
        wanted = [(*map(_plain, k), _micros(row[-1])) for k, row in truth.rows.items()]
        assert sorted((*map(_plain, r[:width]), r[-1]) for r in found) == sorted(wanted)
        assert published.rows == len(wanted)
        assert published.watermark == truth.at
        assert published.load.schema_version == truth.version
        return published


def rows_of(files: tuple[str, ...], what: str = "*") -> list[tuple[Any, ...]]:
    """Read files as the warehouse's view does."""
    if not files:
        return []
    scan = f"read_parquet({literals(list(files))}, union_by_name = true)"
    return duckdb.sql(f"SELECT {what} FROM {scan}").fetchall()


def _plain(value: Any) -> Any:
    return value if isinstance(value, int) else str(value)


def _hours(count: float) -> timedelta:
    return timedelta(hours=count)


def _micros(instant: datetime) -> int:
    at = instant.replace(tzinfo=UTC)
    return int(at.timestamp()) * 1_000_000 + at.microsecond
