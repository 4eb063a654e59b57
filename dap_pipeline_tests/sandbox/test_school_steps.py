"""The school goes on: each step brings new, changed and deleted rows, and all stays coherent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dap_pipeline.sandbox.school import CANARY, advance_school, build_school
from dap_pipeline.sandbox.school.catalogue import shipped_tables
from dap_pipeline.sandbox.store import Store
from dap_pipeline_tests.sandbox.school_rules import (
    ask,
    broken_values,
    dangling_references,
    duplicate_keys,
    fingerprint,
    mismatched_types,
    number,
    times_out_of_order,
)

pytestmark = pytest.mark.slow

BUILT = datetime(2026, 11, 23, 12, tzinfo=UTC)
STEPS = [BUILT + timedelta(hours=4 * step) for step in (1, 2, 3)]
Rows = dict[str, dict[object, str]]


@dataclass(frozen=True)
class Walk:
    """A school after three steps, and which keys it held (with their action) before each."""

    store: Store
    before: list[Rows]


def keys(store: Store) -> Rows:
    return {
        name: dict(ask(store, f"SELECT {table.key.name}, meta_action FROM {table.sql_name}"))
        for name, table in shipped_tables().items()
    }


def walk_into(store: Store, *, seed: int = 1) -> Walk:
    build_school(store, seed=seed, rows=60_000, as_of=BUILT)
    before = []
    for now in STEPS:
        before.append(keys(store))
        advance_school(store, now=now)
    return Walk(store, before)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with Store(tmp_path_factory.mktemp("school")) as store:
        yield walk_into(store)


def committed(walk: Walk, now: datetime) -> dict[str, list[tuple[object, str]]]:
    """Keys and actions of the rows of a commit, as far as no later one changed them."""
    return {
        name: [
            (row[0], row[1])
            for row in ask(
                walk.store,
                f"SELECT {table.key.name}, meta_action FROM {table.sql_name}"
                f" WHERE meta_ts = TIMESTAMP '{now:%Y-%m-%d %H:%M:%S}'",
            )
        ]
        for name, table in shipped_tables().items()
    }


@pytest.mark.parametrize("step", range(3))
def test_a_step_inserts_changes_and_deletes_rows_of_many_tables(walk: Walk, step: int) -> None:
    inserted, changed, deleted = set(), set(), set()
    for name, rows in committed(walk, STEPS[step]).items():
        known = walk.before[step][name]
        inserted |= {name for key, action in rows if action == "U" and key not in known}
        changed |= {name for key, action in rows if action == "U" and known.get(key) == "U"}
        deleted |= {name for key, action in rows if action == "D" and known.get(key) == "U"}
    assert {"canvas.users", "canvas.submissions", "canvas_logs.web_logs"} <= inserted
    assert {"canvas.submissions", "canvas.enrollments", "canvas.pseudonyms"} <= changed
    assert len(inserted) > 20
    assert len(changed) > 8
    assert len(deleted) > 2


def test_a_deleted_key_may_come_back(walk: Walk) -> None:
    revived = [
        (name, key)
        for step, now in enumerate(STEPS)
        for name, rows in committed(walk, now).items()
        for key, action in rows
        if action == "U" and walk.before[step][name].get(key) == "D"
    ]
    assert revived


def test_no_row_goes_without_a_tombstone_but_old_page_views(walk: Walk) -> None:
    now = keys(walk.store)
    gone = {name for name, known in walk.before[0].items() if known.keys() - now[name].keys()}
    assert gone == {"canvas_logs.web_logs"}


def test_some_tables_do_not_change_in_a_step(walk: Walk) -> None:
    unchanged = {name for name, rows in committed(walk, STEPS[-1]).items() if not rows}
    assert {"canvas.roles", "canvas.accounts", "canvas.enrollment_terms"} <= unchanged


def test_a_deleted_row_keeps_nothing_but_its_key(walk: Walk) -> None:
    table = shipped_tables()["canvas.favorites"]
    filled = " OR ".join(f"{column.name} IS NOT NULL" for column in table.columns)
    tombstones = "SELECT count(*) FROM canvas.favorites WHERE meta_action = 'D'"
    assert number(walk.store, tombstones) > 0
    assert number(walk.store, f"{tombstones} AND ({filled})") == 0


def test_the_school_stays_coherent(walk: Walk) -> None:
    assert dangling_references(walk.store) == []
    assert mismatched_types(walk.store) == []
    assert duplicate_keys(walk.store) == []
    assert broken_values(walk.store) == []
    assert times_out_of_order(walk.store) == []


def test_work_that_was_graded_in_a_step_agrees_everywhere(walk: Walk) -> None:
    graded = f"graded_at = TIMESTAMP '{STEPS[-1]:%Y-%m-%d %H:%M:%S}'"
    assert number(walk.store, f"SELECT count(*) FROM canvas.submissions WHERE {graded}") > 0
    query = """
        SELECT count(*) FROM canvas.submissions s
        LEFT JOIN canvas.quiz_submissions q ON q.submission_id = s.id
        JOIN canvas.assignments a ON a.id = s.assignment_id
        WHERE s.score > a.points_possible OR s.workflow_state = 'graded' AND s.score IS NULL
            OR q.id IS NOT NULL AND q.score IS DISTINCT FROM s.score
    """
    assert number(walk.store, query) == 0


def test_page_views_older_than_thirty_days_are_forgotten(walk: Walk) -> None:
    (oldest, newest) = ask(
        walk.store, "SELECT min(timestamp), max(timestamp) FROM canvas_logs.web_logs"
    )[0]
    now = STEPS[-1].replace(tzinfo=None)
    assert oldest >= now - timedelta(days=30)
    assert now - timedelta(hours=4) < newest <= now


def test_the_store_knows_the_time_of_the_last_step(walk: Walk) -> None:
    assert walk.store.school_committed_at() == STEPS[-1]


def test_the_canary_stays(walk: Walk) -> None:
    query = f"SELECT name FROM canvas.users WHERE id = {CANARY.user_id}"
    assert ask(walk.store, query) == [(CANARY.name,)]


def test_time_does_not_go_back(walk: Walk) -> None:
    before = fingerprint(walk.store)
    with pytest.raises(ValueError, match="already committed at 2026-11-24 00:00:00"):
        advance_school(walk.store, now=STEPS[-1])
    assert fingerprint(walk.store) == before


def test_the_same_seed_and_steps_give_the_same_rows(walk: Walk, tmp_path: Path) -> None:
    with Store(tmp_path, threads=1) as store:
        again = walk_into(store)
        assert fingerprint(again.store) == fingerprint(walk.store)


def test_another_seed_gives_other_rows(walk: Walk, tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        other = fingerprint(walk_into(store, seed=2).store)
    ours = fingerprint(walk.store)
    assert [name for name in ours if ours[name] == other[name] and ours[name][0] > 50] == []


def test_the_school_lives_on_through_breaks_and_terms(tmp_path: Path) -> None:
    now = datetime(2026, 8, 22, 3, 17, 5, tzinfo=UTC)
    with Store(tmp_path) as store:
        build_school(store, rows=15_000, as_of=now)
        for pause in (timedelta(hours=4), timedelta(days=45), timedelta(days=200)):
            now += pause
            advance_school(store, now=now)
            assert number(store, "SELECT count(*) FROM canvas_logs.web_logs") > 0
        assert dangling_references(store) == []
        assert broken_values(store) == []
        assert times_out_of_order(store) == []
