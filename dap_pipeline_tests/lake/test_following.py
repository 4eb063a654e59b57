"""Loads that follow a service: increments where they can be had, else snapshots, and why."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from dap_pipeline.errors import (
    LakeError,
    SchemaConflictError,
    SnapshotRequiredError,
)
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.evolution import What
from dap_pipeline.lake.merging.merge import ChangeCounts
from dap_pipeline.lake.records import LoadKind, LoadMode, Outcome, PublishedTable
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline_tests.sandbox import small_school

from .following import USERS, Follower, rows_of, settings_for

NOTHING = ChangeCounts(0, 0, 0, 0)


@pytest.fixture(params=["parquet", "jsonl"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def follower(sandbox: RunningSandbox, tmp_path: Path, source: str) -> Iterator[Follower]:
    with Engine.open(settings_for(sandbox, tmp_path, source_format=source)) as engine:
        yield Follower(sandbox, engine)


def test_an_increment_brings_what_changed(follower: Follower) -> None:
    first = follower.load()
    assert (first.outcome, first.table.load.kind) == (Outcome.LOADED, LoadKind.SNAPSHOT)
    assert first.reason == "the table was not in the lake yet"
    assert first.counts == ChangeCounts(60, 0, 0, 0)
    for what, counts in {
        "insert": ChangeCounts(3, 0, 0, 0),
        "update": ChangeCounts(0, 3, 0, 0),
        "delete": ChangeCounts(0, 0, 3, 0),
        "revive": ChangeCounts(3, 0, 0, 0),
    }.items():
        follower.change(what, 3)
        before = follower.table().load
        result = follower.load()
        load = follower.check().load
        assert (result.outcome, load.kind, result.reason) == (
            Outcome.LOADED,
            LoadKind.INCREMENTAL,
            "",
        )
        assert (result.counts, load.counts, load.since) == (counts, counts, before.at)


def test_nothing_new_is_unchanged_however_often_it_is_asked(follower: Follower) -> None:
    follower.load()
    for _ in range(3):
        checked = follower.table().checked_at
        result = follower.load()
        assert (result.outcome, result.counts) == (Outcome.UNCHANGED, NOTHING)
        assert result.table.version == 0
        assert follower.table().checked_at > checked


@pytest.mark.parametrize("source", ["parquet"])
def test_replaced_files_of_a_quiet_table_go_with_the_first_check_of_a_day(
    follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (replaced,) = follower.load().table.files
    follower.change("delete", 2)
    follower.load()
    hasty = settings_for(follower.sandbox, tmp_path, keep_versions=timedelta(0))
    with Engine.open(hasty) as engine:
        assert engine.load(USERS, mode=LoadMode.AUTO).outcome is Outcome.UNCHANGED
        assert Path(replaced).exists()
        yesterday = datetime.now(UTC) - timedelta(days=1)
        monkeypatch.setattr(PublishedTable, "checked_at", property(lambda _: yesterday))
        assert engine.load(USERS, mode=LoadMode.AUTO).outcome is Outcome.UNCHANGED
    assert not Path(replaced).exists()
    follower.check()


def test_a_change_after_a_quiet_check_comes_though_dap_answers_with_the_old_job(
    follower: Follower,
) -> None:
    follower.load()
    for _ in range(3):
        assert follower.load().outcome is Outcome.UNCHANGED
        follower.change("update", 2)
        assert follower.load().counts == ChangeCounts(0, 2, 0, 0)
        follower.check()


def test_a_reload_is_answered_with_a_snapshot_that_says_why(follower: Follower) -> None:
    follower.load()
    follower.change("reload")
    with pytest.raises(SnapshotRequiredError, match=r"permitted from .*--mode snapshot") as caught:
        follower.load(LoadMode.INCREMENTAL)
    assert caught.value.place.table == "users"
    assert follower.table().version == 0
    result = follower.load()
    assert result.table.load.kind is LoadKind.SNAPSHOT
    assert result.reason.startswith("the table was reloaded (since ")
    assert follower.check().load.reason == result.reason


def test_a_table_that_is_quiet_after_its_reload_is_followed(follower: Follower) -> None:
    follower.load()
    follower.change("reload")
    assert follower.load().table.load.kind is LoadKind.SNAPSHOT
    for _ in range(2):
        assert follower.load().outcome is Outcome.UNCHANGED
        follower.pass_time(4)
    follower.change("update", 2)
    assert follower.load().table.load.kind is LoadKind.INCREMENTAL
    follower.check()


def test_two_reloads_within_a_day_bring_two_snapshots(follower: Follower) -> None:
    follower.load()
    for _ in range(3):
        follower.change("reload")
        assert follower.load().table.load.kind is LoadKind.SNAPSHOT
        follower.check()


def test_a_snapshot_after_increments_is_a_new_one(follower: Follower) -> None:
    follower.load(LoadMode.SNAPSHOT)
    follower.change("update", 2)
    follower.load()
    follower.change("delete", 2)
    result = follower.load(LoadMode.SNAPSHOT)
    assert (result.outcome, result.table.load.kind) == (Outcome.LOADED, LoadKind.SNAPSHOT)
    follower.check()


def test_an_increment_needs_a_base(follower: Follower) -> None:
    with pytest.raises(LakeError, match=r"canvas\.users: there is no version .*--mode snapshot"):
        follower.load(LoadMode.INCREMENTAL)
    assert follower.engine.lake.table(USERS) is None


@pytest.mark.parametrize(
    ("bump", "sentence"),
    [
        (Bump.COLUMN_ADDED, "was added as"),
        (Bump.REQUIRED_COLUMN_ADDED, "was added as"),
        (Bump.COLUMN_REMOVED, "was removed"),
        (Bump.ENUM_MEMBER_ADDED, "permits"),
    ],
)
def test_a_new_schema_is_followed_within_increments(
    follower: Follower, bump: Bump, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    follower.load()
    before = follower.table()
    follower.pass_time(4)
    follower.sandbox.life.bump(str(USERS), bump)
    follower.sandbox.life.update(str(USERS), 2)
    with caplog.at_level(logging.WARNING):
        result = follower.load()
    assert result.table.load.kind is LoadKind.INCREMENTAL
    after = follower.check()
    told = [str(change) for change in result.schema_changes]
    assert any(sentence in text and "(schema version 3 to 4)" in text for text in told)
    assert after.load.schema_changes == result.schema_changes
    assert all(text in caplog.text for text in told)
    # One typed whole for other readers too: every column, with all the rows.
    columns = [column.name for column in after.shape.columns]
    assert pl.read_delta(str(follower.engine.lake.folder(USERS))).columns == columns
    assert {c.name for c in before.shape.columns} <= set(columns)
    follower.change("update", 2)
    follower.load()
    follower.check()
    gone = follower.load(LoadMode.SNAPSHOT)
    assert gone.table.load.kind is LoadKind.SNAPSHOT
    assert not any(column.gone for column in gone.table.shape.columns)


def test_a_changed_key_demands_a_snapshot(follower: Follower) -> None:
    follower.load()
    follower.pass_time(4)
    follower.sandbox.life.bump(str(USERS), Bump.KEY_CHANGED)
    with pytest.raises(SchemaConflictError, match="the key was"):
        follower.load(LoadMode.INCREMENTAL)
    result = follower.load()
    assert result.table.load.kind is LoadKind.SNAPSHOT
    assert "the key was" in result.reason
    assert What.KEY in [change.what for change in result.schema_changes]
    follower.check()


@pytest.mark.parametrize("source", ["parquet"])
def test_a_column_whose_name_is_used_again_demands_a_snapshot(follower: Follower) -> None:
    life = follower.sandbox.life
    life.redefine(str(USERS), "nick", small_school.TEXT)
    life.update(str(USERS), 60)
    follower.load()
    nicks = rows_of(follower.table().files, "id, nick")
    assert any(nick for _, nick in nicks)
    _remove(follower, "nick")
    life.update(str(USERS), 2)
    assert follower.load().table.load.kind is LoadKind.INCREMENTAL
    assert follower.table().shape.column("nick").gone
    follower.pass_time(4)
    life.redefine(str(USERS), "nick", small_school.TEXT)
    life.insert(str(USERS), 1)
    with pytest.raises(SchemaConflictError, match="nick was removed and has come back"):
        follower.load(LoadMode.INCREMENTAL)
    assert follower.load().reason.startswith("an increment cannot be added: column nick was rem")
    published, truth = follower.check(), follower.sandbox.truth(str(USERS))
    place = [field.name for field in truth.fields].index("nick")
    wanted = [(*key, row[place]) for key, row in truth.rows.items()]
    assert sorted(rows_of(published.files, "id, nick")) == sorted(wanted)


def _remove(follower: Follower, field: str) -> None:
    """Let the next schema version of the table lack a field."""
    follower.pass_time(4)
    store = follower.sandbox.service.store
    table = store.table(USERS.namespace, USERS.table)
    assert table is not None
    schema = copy.deepcopy(table.schema)
    del schema["properties"]["value"]["properties"][field]
    with store.transaction() as cursor:
        store.change_schema(USERS.namespace, USERS.table, schema, table.version + 1, cursor)


def test_a_reused_job_never_sets_the_schema_back(follower: Follower) -> None:
    follower.load()
    assert follower.load().outcome is Outcome.UNCHANGED
    follower.sandbox.life.bump(str(USERS), Bump.COLUMN_ADDED)
    version = follower.load(LoadMode.SNAPSHOT).table.load.schema_version
    for mode in (LoadMode.AUTO, LoadMode.SNAPSHOT, LoadMode.AUTO):
        assert follower.load(mode).table.load.schema_version == version


def test_a_new_version_of_the_same_instant_does_not_hide_what_is_newer(follower: Follower) -> None:
    follower.load()
    follower.change("update", 2)
    follower.load()
    assert follower.load().outcome is Outcome.UNCHANGED
    # The snapshot has the watermark that the quiet query had, which DAP answers as before.
    at = follower.table().load.at
    assert follower.load(LoadMode.SNAPSHOT).outcome is Outcome.LOADED
    assert follower.table().load.at == at
    follower.change("update", 2)
    assert follower.load().counts == ChangeCounts(0, 2, 0, 0)
    follower.check()


def test_an_overlap_that_dap_does_not_keep_is_done_without(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    with Engine.open(settings_for(sandbox, tmp_path, increment_overlap=timedelta(hours=1))) as e:
        follower = Follower(sandbox, e)
        follower.load()
        follower.change("reload")
        assert follower.load().table.load.kind is LoadKind.SNAPSHOT
        assert follower.load().outcome is Outcome.UNCHANGED
        follower.change("update", 2, hours=0.1)
        result = follower.load()
        assert (result.table.load.kind, result.reason) == (LoadKind.INCREMENTAL, "")
        follower.check()
