"""What increments changed is on record, once, whatever happens in between."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from dap_pipeline.lake import changes_table
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.publishing import CHANGES_FOLDER
from dap_pipeline.lake.records import Outcome
from dap_pipeline.lake.sql import literals
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.warehouse.build import build_warehouse
from dap_pipeline_tests.sandbox import small_school

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
        *("load_version", "load_job_id", "load_since", "load_until", "earlier_key"),
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


def test_changes_that_could_not_be_recorded_for_long_are_not_removed(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower.load()
    follower.change("insert", 2)
    follower.load()
    follower.change("delete", 3)
    with monkeypatch.context() as patch:
        patch.setattr(changes_table, "settle", lambda *_, **__: None)
        follower.load()
    long_ago = time.time() - timedelta(days=40).total_seconds()
    for file in folder_of(follower).glob("*.parquet"):
        os.utime(file, (long_ago, long_ago))
    lake = follower.engine.lake
    lake.vacuum(USERS, timedelta(0))
    (told,) = lake.unrecorded_changes([USERS])
    assert told.startswith("what 1 loads changed is not in dap.changes yet")
    follower.load()
    assert lake.unrecorded_changes([USERS]) == [""]
    assert recorded(follower) == [(1, "insert", 2), (2, "delete", 3)]


def test_changes_that_are_harmed_can_be_moved_away(
    follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    follower.load()
    follower.change("insert", 2)
    follower.load()
    aside = folder_of(follower)
    for commit in (aside / "_delta_log").glob("*.json"):
        commit.write_text("harmed")
    follower.change("delete", 1)
    follower.load()
    assert "move this folder away: the table itself is whole" in caplog.text
    aside.rename(aside.with_name("harmed"))
    follower.change("delete", 3)
    follower.load()
    follower.check()
    assert recorded(follower) == [(3, "delete", 3)]


def test_changes_go_when_they_are_older_than_is_wished(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower.load()
    follower.change("insert", 2)
    follower.load()
    follower.change("delete", 2)
    with monkeypatch.context() as patch:
        let_changes_age(patch, days=40)
        follower.load()
    assert recorded(follower) == [(2, "delete", 2)]


def let_changes_age(patch: pytest.MonkeyPatch, days: int) -> None:
    """Let the files of changes look as if they had come so many days ago."""
    real = changes_table._files

    def aged(aside: Path, delta: DeltaTable) -> list[changes_table._Changes]:
        return [dataclasses.replace(f, day=f.day - days) for f in real(aside, delta)]

    patch.setattr(changes_table, "_files", aged)


def test_changes_of_a_quiet_table_go_too(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower.load()
    follower.change("insert", 2)
    follower.load()
    let_changes_age(monkeypatch, days=29)
    assert follower.load().outcome is Outcome.UNCHANGED
    assert recorded(follower) == [(1, "insert", 2)]
    let_changes_age(monkeypatch, days=2)
    assert follower.load().outcome is Outcome.UNCHANGED
    assert recorded(follower) == []
    follower.change("delete", 2)
    monkeypatch.undo()
    follower.load()
    assert recorded(follower) == [(2, "delete", 2)]


def test_earlier_changes_keep_their_keys_when_the_key_becomes_another_one(
    follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> set[tuple[int, str, str]]:
        file = build_warehouse(follower.engine.lake, tmp_path / "warehouse.duckdb").file
        with duckdb.connect(str(file), read_only=True) as connection:
            query = "SELECT version, change, key FROM dap.changes"
            return set(connection.execute(query).fetchall())

    follower.load()
    follower.change("insert", 1)
    follower.load()
    (file,) = follower.engine.lake.changes(USERS)
    nine_days_ago = time.time() - timedelta(days=9).total_seconds()
    os.utime(file, (nine_days_ago, nine_days_ago))
    follower.pass_time(4)
    follower.sandbox.life.redefine(str(USERS), "id", small_school.TEXT)
    follower.load()
    wanted = {(1, "insert", '{"id":61}')}
    assert told() == wanted
    for version, days in ((3, 9), (4, 0)):
        follower.change("update", 1)
        with monkeypatch.context() as patch:
            let_changes_age(patch, days)
            follower.load()
        (key,) = (key for number, _, key in told() if number == version)
        wanted |= {(version, "update", key)}
        assert '{"id":"' in key
        assert told() == wanted
    # What is written anew is as old as before, or it would stay longer than is wished.
    (aged, _) = sorted(Path(file).stat().st_mtime for file in follower.engine.lake.changes(USERS))
    assert aged == pytest.approx(nine_days_ago)
    follower.pass_time(4)
    follower.sandbox.life.bump(str(USERS), Bump.KEY_CHANGED)
    follower.load()
    assert told() == wanted
    follower.change("insert", 1)
    follower.load()
    assert {key for version, _, key in told() if version < 6} == {key for *_, key in wanted}
    ((_, _, key),) = told() - wanted
    assert len(json.loads(key)) == 2


def test_a_load_that_changed_nothing_leaves_no_record(follower: Follower) -> None:
    follower.load()
    follower.change("bury", 2)
    follower.load()
    assert recorded(follower) == []
