"""Earlier versions can be read and brought back, and increments go on from there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from dap_pipeline.errors import LakeError, UnknownTableError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.merging import ChangeCounts
from dap_pipeline.lake.records import LoadKind, LoadMode, Outcome
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.serve import RunningSandbox

from .following import USERS, Follower, rows_of, settings_for

HOUR = timedelta(hours=1)


@pytest.fixture
def follower(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Follower]:
    with Engine.open(settings_for(sandbox, tmp_path)) as engine:
        yield Follower(sandbox, engine)


@pytest.fixture
def followed(follower: Follower) -> Follower:
    """Follow the users over three increments."""
    follower.load()
    for what in ("insert", "update", "delete"):
        follower.change(what, 4)
        follower.load()
    return follower


def contents(follower: Follower, version: int | None = None) -> list[tuple[object, ...]]:
    found = follower.engine.lake.table(USERS, version)
    assert found is not None
    return sorted(rows_of(found.files, "id, name, epoch_us(meta_ts)"))


def follow_to_the_end(follower: Follower) -> None:
    """Load until DAP has nothing newer; then the table is what it should be."""
    for _ in range(4):
        if follower.load().outcome is Outcome.UNCHANGED:
            break
    follower.check()


def test_every_version_can_be_read_by_number_and_by_instant(followed: Follower) -> None:
    lake = followed.engine.lake
    for load in lake.history(USERS):
        at = lake.as_of(USERS, load.at)
        assert (at.version, at.rows) == (load.version, load.rows)
        assert lake.as_of(USERS, load.at + HOUR).version == load.version
        assert contents(followed, load.version) == sorted(
            rows_of(at.files, "id, name, epoch_us(meta_ts)")
        )
    with pytest.raises(LakeError, match="no version of"):
        lake.as_of(USERS, lake.history(USERS)[-1].at - HOUR)
    with pytest.raises(LakeError, match="no version 9"):
        lake.as_of(USERS, 9)


def test_a_table_that_is_not_there_has_no_past(followed: Follower) -> None:
    other = USERS.__class__("canvas", "nowhere")
    with pytest.raises(UnknownTableError, match="is not in the lake"):
        followed.engine.lake.as_of(other, 0)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_restored_version_is_the_table_again_and_is_followed(
    followed: Follower, version: int
) -> None:
    lake = followed.engine.lake
    before, old = contents(followed, version), lake.as_of(USERS, version)
    restored = lake.restore(USERS, version)
    assert contents(followed) == before
    assert pl.read_delta(str(lake.folder(USERS))).height == old.rows
    load = restored.load
    assert (load.at, load.job_id, load.rows) == (old.load.at, old.load.job_id, old.rows)
    assert (load.restored_from, load.lineage) == (version, restored.version)
    assert load.reason == f"version {version} was restored"
    # Within 24 hours, the same job brings what it brought before.
    result = followed.load()
    assert (result.outcome, result.table.load.kind) == (Outcome.LOADED, LoadKind.INCREMENTAL)
    assert result.table.load.since == old.load.at
    follow_to_the_end(followed)


def test_a_restored_table_takes_the_snapshot_that_it_had_before(follower: Follower) -> None:
    follower.load(LoadMode.SNAPSHOT)
    follower.change("update", 5, hours=25)
    newest = follower.load(LoadMode.SNAPSHOT)
    follower.engine.lake.restore(USERS, 0)
    again = follower.load(LoadMode.SNAPSHOT)
    assert (again.outcome, again.table.load.job_id) == (Outcome.LOADED, newest.table.load.job_id)
    follower.check()


def test_a_version_of_another_schema_is_restored_with_its_columns(follower: Follower) -> None:
    follower.load()
    columns = follower.table().shape.columns
    follower.pass_time(4)
    follower.sandbox.life.bump(str(USERS), Bump.COLUMN_ADDED)
    follower.sandbox.life.update(str(USERS), 3)
    follower.load()
    assert follower.table().shape.columns != columns
    restored = follower.engine.lake.restore(USERS, 0)
    assert restored.shape.columns == columns
    folder = str(follower.engine.lake.folder(USERS))
    assert pl.read_delta(folder).columns == [column.name for column in columns]
    follower.load()
    follower.check()


def test_a_version_whose_files_are_gone_is_refused(followed: Follower) -> None:
    lake = followed.engine.lake
    kept = contents(followed)
    lake.vacuum(USERS, timedelta())
    for attempt in (lake.as_of, lake.restore):
        with pytest.raises(LakeError, match=r"version 0 were removed.*KEEP_VERSIONS.*history"):
            attempt(USERS, 0)
    assert contents(followed) == kept


def test_restoring_survives_a_vacuum(followed: Follower) -> None:
    lake = followed.engine.lake
    old = contents(followed, 1)
    lake.restore(USERS, 1)
    lake.vacuum(USERS, timedelta())
    assert contents(followed) == old
    assert followed.load().counts != ChangeCounts(0, 0, 0, 0)
    follow_to_the_end(followed)


def test_the_spans_of_files_tell_each_version(followed: Follower) -> None:
    lake = followed.engine.lake
    lake.restore(USERS, 1)
    spans = lake.past(followed.table(), 100).spans
    for load in lake.history(USERS):
        version = lake.as_of(USERS, load.version)
        told = {s.path for s in spans if s.first_version <= load.version <= s.last_version}
        assert told == {Path(file) for file in version.files}
    lake.vacuum(USERS, timedelta())
    assert all(span.path.exists() for span in lake.past(followed.table(), 100).spans)
