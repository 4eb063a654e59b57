"""Where DAP refuses increments, or answers with a job of before: nothing is lost or made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dap_pipeline.dap.models import Format, Query, SnapshotQuery
from dap_pipeline.dap.progress import silent
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import ForbiddenError, LakeError, OutOfRangeError
from dap_pipeline.lake.asking import _snapshot_queries
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.merging.merge import ChangeCounts
from dap_pipeline.lake.planning import Answer
from dap_pipeline.lake.records import NOTHING_NEWER, LoadKind, LoadMode, LoadResult, Outcome
from dap_pipeline.sandbox import errors
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.errors import ApiError
from dap_pipeline.sandbox.faults import ALWAYS, Fault, Faults
from dap_pipeline.sandbox.faults_answers import HTML, made, reply
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.selections import OldRanges
from dap_pipeline_tests.sandbox import small_school

from .following import USERS, Follower, settings_for

S = LoadKind.SNAPSHOT
PARQUET = SnapshotQuery(Format.PARQUET)
FORBIDDEN = ApiError(403, "RequestTypeForbidden", "This kind of query is not allowed.")


@dataclass(frozen=True)
class Refused(Follower):
    """A follower of a service that can be made to refuse queries."""

    faults: Faults

    def forbid(self, *, increments: bool) -> None:
        """Forbid one kind of query from now on."""
        self.switch_on(FORBIDDEN, increments=increments)

    def switch_on(self, error: ApiError, times: int | None = ALWAYS, *, increments: bool) -> None:
        """Refuse one kind of query from now on."""
        fault = Fault(made(error.response), (Endpoint.DATA,), times=times, increments=increments)
        self.faults.switch_on(fault)

    def queries_of(self, load: Callable[[], LoadResult]) -> tuple[LoadResult, int]:
        """Load, and count the queries that it took."""
        self.faults.switch_on(*self.faults._faults)
        result = load()
        asked = [s.call for s in self.faults.calls if s.call.endpoint is Endpoint.DATA]
        # After a login they are repeated.
        return result, len({call.body for call in asked})

    def job_of(self, query: Query) -> Any:
        """Have a job made, as another program of the school does."""
        return self.engine.runner.run(USERS, query, listener=silent, stop=Stop())


Following = Callable[..., AbstractContextManager[Refused]]


@pytest.fixture
def following(tmp_path: Path) -> Following:
    @contextmanager
    def follow(**chosen: Any) -> Iterator[Refused]:
        faults = Faults()
        config = SandboxConfig(tmp_path / "sandbox", rate_limits=False, job_polls=0, **chosen)
        with (
            small_school.running(config, interceptors=[faults]) as sandbox,
            Engine.open(settings_for(sandbox, tmp_path)) as engine,
        ):
            yield Refused(sandbox, engine, faults)

    return follow


@pytest.fixture
def follower(following: Following) -> Iterator[Refused]:
    with following() as it:
        yield it


def test_a_table_that_is_quiet_for_longer_than_dap_keeps_changes_is_up_to_date(
    following: Following,
) -> None:
    with following(history_days=7, history_by_clock=True) as follower:
        follower.load()
        follower.pass_time(240)
        for _ in range(2):
            checked = follower.table().checked_at
            result, queries = follower.queries_of(follower.load)
            assert (result.outcome, result.reason) == (Outcome.UNCHANGED, NOTHING_NEWER)
            assert (result.table.version, result.downloaded_bytes) == (0, 0)
            assert queries == 2, "an increment that is refused, and a snapshot"
            assert follower.table().checked_at > checked
            follower.pass_time(4)
        follower.change("update", 2)
        result = follower.load()
        assert (result.table.load.kind, result.counts) == (S, ChangeCounts(0, 2, 0, 58))
        assert result.reason.startswith("DAP does not keep changes that long")
        follower.check()
        follower.change("update", 2)
        assert follower.load().table.load.kind is LoadKind.INCREMENTAL
        follower.check()


def test_no_snapshot_is_taken_where_dap_says_that_the_watermark_is_the_newest(
    follower: Refused,
) -> None:
    at = follower.load().table.load.at
    follower.switch_on(errors.out_of_range("", at + timedelta(days=1), at), increments=True)
    result, queries = follower.queries_of(follower.load)
    assert (result.outcome, queries) == (Outcome.UNCHANGED, 1)


def test_a_table_whose_increments_are_forbidden_is_kept_by_snapshots(follower: Refused) -> None:
    follower.load()
    follower.change("insert", 2)
    follower.load()
    follower.forbid(increments=True)
    follower.change("insert", 2)
    result = follower.load()
    assert (result.table.load.kind, result.counts) == (S, ChangeCounts(2, 0, 0, 62))
    assert result.reason.startswith("DAP does not permit an incremental query")
    published = follower.check()
    follower.change("insert", 2)
    for _ in range(2):
        result = follower.load()
        assert (result.outcome, result.table.version) == (Outcome.UNCHANGED, published.version)
        assert result.reason.startswith("DAP answers with its job of ")
        assert follower.table().checked_at == published.checked_at
    assert follower.load().counts == ChangeCounts(2, 0, 0, 64), "it is asked in other words"
    follower.check()


def test_a_snapshot_that_someone_else_took_before_never_sets_a_table_back(
    follower: Refused,
) -> None:
    follower.load()
    follower.change("insert", 2, hours=25)
    follower.job_of(PARQUET)
    follower.change("insert", 2)
    follower.load()
    follower.forbid(increments=True)
    follower.change("insert", 2)
    assert follower.load().counts == ChangeCounts(2, 0, 0, 64)
    assert follower.check().rows == 66


def test_where_only_old_snapshots_are_to_be_had_the_load_fails(follower: Refused) -> None:
    follower.load()
    take_all_snapshots(follower)
    follower.change("insert", 2)
    follower.load()
    follower.forbid(increments=True)
    follower.change("insert", 2)
    with pytest.raises(LakeError, match=r"but DAP answers with that of .*Run it again when"):
        follower.load()
    assert follower.table().rows == 62


def take_all_snapshots(follower: Refused) -> None:
    for query in _snapshot_queries(Format.PARQUET):
        follower.job_of(query)


def test_a_refusal_that_is_not_daps_own_takes_no_snapshot(follower: Refused) -> None:
    follower.load()
    follower.change("insert", 2)
    follower.faults.switch_on(Fault(reply(403, HTML, "text/html"), (Endpoint.DATA,), times=ALWAYS))
    with pytest.raises(ForbiddenError, match="firewall or proxy"):
        follower.load()
    assert len(follower.faults.strikes) == 1
    assert follower.table().load.kind is S


def test_a_range_that_ends_before_the_watermark_makes_no_old_version_of_it(
    follower: Refused,
) -> None:
    follower.load()
    follower.change("insert", 2)
    at = follower.load().table.load.at
    behind = errors.out_of_range("", at - timedelta(days=7), at - timedelta(seconds=1))
    follower.switch_on(behind, increments=True)
    result = follower.load()
    assert (result.outcome, result.table.version) == (Outcome.UNCHANGED, 1)
    follower.check()


def test_a_table_goes_back_where_the_refusal_and_the_snapshot_agree(follower: Refused) -> None:
    first = follower.load().table.load
    follower.change("insert", 2)
    follower.load()
    gone_back = errors.out_of_range("", first.at - timedelta(days=7), first.at)
    follower.switch_on(gone_back, increments=True)
    result = follower.load()
    assert result.reason.startswith("DAP has nothing of after ")
    # It is the job that was published at first, and it is applied once more.
    load = result.table.load
    assert (load.version, load.job_id, load.at) == (2, first.job_id, first.at)
    assert (result.outcome, result.counts) == (Outcome.LOADED, ChangeCounts(0, 0, 2, 60))


def test_changes_that_dap_gives_from_later_on_only_are_not_taken_for_all(
    following: Following,
) -> None:
    with following(history_days=1, history_by_clock=True, old_ranges=OldRanges.CLIPPED) as follower:
        follower.load()
        follower.change("insert", 2)
        follower.change("insert", 1, hours=48)
        with pytest.raises(OutOfRangeError, match=r"and gives them from .*--mode snapshot"):
            follower.load(LoadMode.INCREMENTAL)
        assert follower.table().version == 0
        result = follower.load()
        assert (result.table.load.kind, result.counts) == (S, ChangeCounts(3, 0, 0, 60))
        assert result.reason.startswith("DAP does not keep changes that long")
        follower.check()


def test_an_outdated_snapshot_does_not_tell_that_a_table_is_quiet(following: Following) -> None:
    with following(history_days=0, history_by_clock=True, old_ranges=OldRanges.CLIPPED) as follower:
        follower.load()
        follower.change("insert", 2)
        assert follower.load().counts == ChangeCounts(2, 0, 0, 60)
        follower.check()


def test_a_snapshot_within_a_day_says_of_when_it_is(follower: Refused) -> None:
    follower.load(LoadMode.SNAPSHOT)
    published = follower.table()
    follower.change("insert", 2, hours=6)
    result = follower.load(LoadMode.SNAPSHOT)
    assert (result.outcome, result.table.version) == (Outcome.UNCHANGED, 0)
    assert result.reason.startswith("DAP answers with its job of ")
    assert follower.table().checked_at == published.checked_at


def test_an_older_snapshot_does_not_make_a_table_fresh(follower: Refused) -> None:
    take_all_snapshots(follower)
    follower.load()
    follower.change("insert", 2)
    follower.load()
    published = follower.table()
    result = follower.load(LoadMode.SNAPSHOT)
    assert result.reason.startswith("DAP answers with an older snapshot, that of ")
    assert (result.outcome, follower.table()) == (Outcome.UNCHANGED, published)


def test_a_first_load_does_without_a_snapshot_of_an_earlier_schema(follower: Refused) -> None:
    follower.job_of(PARQUET)
    follower.pass_time(2)
    follower.sandbox.life.bump(str(USERS), Bump.COLUMN_ADDED)
    follower.sandbox.life.update(str(USERS), 1)
    assert follower.load().outcome is Outcome.LOADED
    follower.check()


def test_a_reload_that_leaves_no_newer_row_is_taken_once(follower: Refused) -> None:
    follower.load()
    follower.pass_time(4)
    service = follower.sandbox.service
    service.store.mark_reloaded("canvas", "users", service.clock.now())
    result, queries = follower.queries_of(follower.load)
    assert (result.outcome, result.table.version) == (Outcome.LOADED, 1)
    assert result.reason.startswith("the table was reloaded")
    assert queries == 3, "one that is refused, a snapshot of before, and another one"
    follower.pass_time(4)
    result, queries = follower.queries_of(follower.load)
    assert (result.outcome, result.table.version, queries) == (Outcome.UNCHANGED, 1, 3)
    follower.change("update", 2, hours=25)
    follower.load()
    follower.check()


def test_a_job_that_was_applied_to_an_earlier_version_is_not_told_as_loaded(
    follower: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = follower.load().table.load
    follower.change("insert", 2)
    follower.load()
    again = Answer(follower.job_of(PARQUET), Format.PARQUET)
    assert again.job.id == first.job_id
    monkeypatch.setattr(follower.engine._loader._planner, "ask", lambda *_, **__: again)
    result = follower.load()
    assert (result.outcome, result.reason) == (
        Outcome.UNCHANGED,
        "what came was published already",
    )
    assert (result.table.version, result.counts) == (1, ChangeCounts(0, 0, 0, 0))


def test_an_overlap_that_leads_to_a_query_of_before_hides_nothing(
    follower: Refused, tmp_path: Path
) -> None:
    since = follower.load().table.load.at
    follower.change("insert", 1)
    overlap = follower.load().table.load.at - since
    follower.change("insert", 1)
    with Engine.open(settings_for(follower.sandbox, tmp_path, increment_overlap=overlap)) as engine:
        result = engine.load(USERS, mode=LoadMode.AUTO)
    assert result.counts == ChangeCounts(1, 0, 0, 1)
    follower.check()
