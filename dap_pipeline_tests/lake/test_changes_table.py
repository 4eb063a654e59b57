"""What increments changed is on record, once, whatever happens in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from dap_pipeline.lake import changes_table
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.publishing import CHANGES_FOLDER
from dap_pipeline.lake.sql import literals
from dap_pipeline.sandbox.serve import RunningSandbox

from .following import USERS, Follower, settings_for


@pytest.fixture
def follower(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Follower]:
    with Engine.open(settings_for(sandbox, tmp_path)) as engine:
        yield Follower(sandbox, engine)


def recorded(follower: Follower) -> list[tuple[object, ...]]:
    files = follower.engine.lake.changes(USERS)
    if not files:
        return []
    query = f"SELECT load_version, change, count(*) FROM read_parquet({literals(list(files))})"
    return duckdb.sql(f"{query} GROUP BY ALL ORDER BY ALL").fetchall()


def folder_of(follower: Follower) -> Path:
    return follower.engine.lake.folder(USERS) / CHANGES_FOLDER


def test_each_load_is_on_record_with_what_it_changed(follower: Follower) -> None:
    follower.load()
    assert recorded(follower) == []
    for what in ("insert", "update", "delete"):
        follower.change(what, 2)
        follower.load()
    assert recorded(follower) == [(1, "insert", 2), (2, "update", 2), (3, "delete", 2)]
    table = pl.read_delta(str(folder_of(follower)))
    assert table.columns == [
        *("id", "change", "meta_ts"),
        *("load_version", "load_job_id", "load_since", "load_until"),
    ]
    (load,) = (load for load in follower.engine.lake.history(USERS) if load.version == 2)
    (row, _) = table.filter(pl.col("load_version") == 2).to_dicts()
    assert (row["load_job_id"], row["load_since"], row["load_until"]) == (
        load.job_id,
        load.since,
        load.at,
    )
    # The changes of one day lie in one file, which only its owner can read.
    (file,) = follower.engine.lake.changes(USERS)
    assert Path(file).stat().st_mode & 0o077 == 0
    # Other readers of the table do not see them.
    assert pl.read_delta(str(follower.engine.lake.folder(USERS))).height == 60


def test_what_changed_is_recorded_by_the_next_load_after_a_crash(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower.load()
    follower.change("insert", 2)

    def crashed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(changes_table, "settle", lambda *_, **__: None)
        follower.load()
    assert recorded(follower) == []
    follower.change("delete", 3)
    with monkeypatch.context() as patch:
        patch.setattr(changes_table._Settling, "_apply", crashed)
        with pytest.raises(KeyboardInterrupt):
            follower.load()
    assert recorded(follower) == []
    follower.load()
    assert recorded(follower) == [(1, "insert", 2), (2, "delete", 3)]
    follower.load()
    assert recorded(follower) == [(1, "insert", 2), (2, "delete", 3)]
    follower.check()


def test_changes_go_when_they_are_older_than_is_wished(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower.load()
    follower.change("insert", 2)
    follower.load()
    long_ago = time.time() - timedelta(days=40).total_seconds()
    real = changes_table._files

    def aged(*given: object) -> object:
        found = real(*given)  # type: ignore[arg-type]  # handed on as it came
        return [
            changes_table._Changes(
                *(f.path, f.rows, f.bytes, f.key_min, f.key_max), int(long_ago // 86_400)
            )
            for f in found
        ]

    follower.change("delete", 2)
    with monkeypatch.context() as patch:
        patch.setattr(changes_table, "_files", aged)
        follower.load()
    assert recorded(follower) == [(2, "delete", 2)]


def test_a_load_that_changed_nothing_leaves_no_record(follower: Follower) -> None:
    follower.load()
    follower.change("bury", 2)
    follower.load()
    assert recorded(follower) == []
