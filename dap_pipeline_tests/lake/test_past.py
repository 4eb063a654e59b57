"""Earlier versions can be read and brought back, and increments go on from there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from dap_pipeline.errors import LakeError, UnknownTableError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.merging.merge import ChangeCounts
from dap_pipeline.lake.past import undone_by
from dap_pipeline.lake.records import LoadKind, LoadMode, Outcome
from dap_pipeline.lake.tables import Lake
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.serve import RunningSandbox

from .following import USERS, Follower, rows_of, settings_for
from .loading import publish

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
    # DAP still has the jobs of before, each of which would bring one change.
    result = followed.load()
    assert (result.outcome, result.table.load.kind) == (Outcome.LOADED, LoadKind.INCREMENTAL)
    since = result.table.load.since
    assert since is not None
    assert timedelta() < old.load.at - since < timedelta(seconds=1)
    followed.check()
    assert followed.load().outcome is Outcome.UNCHANGED


def test_what_a_restore_undid_is_read_by_its_number_and_no_longer_by_an_instant(
    followed: Follower,
) -> None:
    lake = followed.engine.lake
    undone = lake.history(USERS)[0]
    restored = lake.restore(USERS, 1)
    assert lake.as_of(USERS, undone.at).version == restored.version
    assert lake.as_of(USERS, lake.as_of(USERS, 0).load.at).version == 0
    assert lake.as_of(USERS, undone.version).rows == undone.rows
    # The changes came again: now they are the state of then.
    caught_up = followed.load().table
    assert lake.as_of(USERS, undone.at).version == caught_up.version


def test_restores_of_restores_undo_what_lies_between(followed: Follower) -> None:
    lake = followed.engine.lake
    for version in (1, 3, 0, 5):
        lake.restore(USERS, version)
    loads = lake.history(USERS)
    # Version 4 is 1 again; 5 is 3, which 4 had undone; 6 is 0; and 7 is 5, that is, 3.
    assert [load.version for load in loads] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert undone_by(loads) == {6: 7, 4: 5}
    followed.engine.lake.restore(USERS, 4)
    assert undone_by(lake.history(USERS)) == {7: 8, 6: 8, 5: 8, 3: 4, 2: 4}


def test_each_of_many_restores_of_a_day_is_caught_up_with_by_one_refresh(
    followed: Follower,
) -> None:
    for version in (0, 0, 2, 0, 1, 1):
        followed.engine.lake.restore(USERS, version)
        assert followed.load().table.load.kind is LoadKind.INCREMENTAL
        followed.check()


def test_quiet_checks_between_restores_keep_no_change_back(followed: Follower) -> None:
    for checks in (2, 0, 3):
        followed.engine.lake.restore(USERS, followed.table().version)
        for _ in range(checks):
            assert followed.load().outcome is Outcome.UNCHANGED
        followed.change("update", 2, hours=1)
        assert followed.load().outcome is Outcome.LOADED
        followed.check()
        # The version that is brought back next was checked often, too.
        assert followed.load().outcome is Outcome.UNCHANGED


def test_a_restore_is_caught_up_with_by_one_refresh_with_an_overlap_too(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    with Engine.open(settings_for(sandbox, tmp_path, increment_overlap=HOUR)) as engine:
        follower = Follower(sandbox, engine)
        follower.load()
        for what in ("insert", "update", "delete"):
            follower.change(what, 4)
            follower.load()
        for _ in range(2):
            engine.lake.restore(USERS, 0)
            since = follower.load().table.load.since
            assert since is not None
            assert follower.engine.lake.as_of(USERS, 0).load.at - since > HOUR
            follower.check()


def test_a_version_of_the_first_instant_that_dap_keeps_is_followed_from_there(
    follower: Follower,
) -> None:
    follower.load()
    follower.change("reload")
    reloaded = follower.load().table
    assert reloaded.load.kind is LoadKind.SNAPSHOT
    follower.change("update", 2)
    follower.load()
    restored = follower.engine.lake.restore(USERS, reloaded.version)
    # What lies before the reload is refused.
    result = follower.load()
    assert (result.table.load.kind, result.reason) == (LoadKind.INCREMENTAL, "")
    assert result.table.load.since == restored.load.at
    follow_to_the_end(follower)


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


def test_the_past_goes_as_far_back_as_versions_can_be_read_or_as_is_asked_for(
    followed: Follower,
) -> None:
    lake, table = followed.engine.lake, followed.table()
    assert [load.version for load in lake.past(table, 1).loads] == [3, 2, 1, 0]
    whole = lake.past(table, 1).spans
    lake.vacuum(USERS, timedelta())
    for least, versions in ((1, [3]), (3, [3, 2, 1]), (9, [3, 2, 1, 0])):
        past = lake.past(table, least)
        assert [load.version for load in past.loads] == versions
        assert {span.path for span in past.spans} == set(map(Path, table.files))
    assert len(whole) > len(table.files)


def test_increments_and_restores_tell_when_the_last_snapshot_was(follower: Follower) -> None:
    follower.load()
    follower.load()
    first = follower.table()
    # Nothing came since: it is as good as a snapshot of now.
    assert first.load.snapshot_at == first.load.committed_at
    assert first.snapshot_at == first.checked_at > first.load.committed_at
    for _ in range(2):
        follower.change("update", 2)
        follower.load()
        assert follower.table().snapshot_at == first.snapshot_at
    follower.engine.lake.restore(USERS, 1)
    assert follower.table().snapshot_at == first.snapshot_at
    follower.engine.lake.restore(USERS, 0)
    assert follower.table().snapshot_at == first.load.committed_at
    follower.load()
    assert follower.table().snapshot_at == first.load.committed_at
    newest = follower.load(LoadMode.SNAPSHOT).table
    assert newest.load.kind is LoadKind.SNAPSHOT
    assert newest.load.snapshot_at == newest.load.committed_at
    assert newest.snapshot_at == newest.checked_at


def test_a_commit_of_before_this_was_kept_does_not_tell_of_the_last_snapshot(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path / "lake")
    publish(lake, tmp_path, "job-1", [{"a": "x"}])
    table = publish(lake, tmp_path, "job-2", [{"a": "y"}], kind=LoadKind.INCREMENTAL)
    assert (table.load.kind, table.snapshot_at) == (LoadKind.INCREMENTAL, None)
