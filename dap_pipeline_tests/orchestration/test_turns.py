"""Which tables the schedules take as snapshots, over months and through times when they are off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.orchestration.turns import Turns, snapshots_due

FOUR_HOURS = timedelta(hours=4)
DAY = timedelta(days=1)
EVERY = timedelta(days=30)
TURNS = Turns(FOUR_HOURS, EVERY)
START = datetime(2026, 11, 23, 0, 7, tzinfo=UTC)
NAMES = sorted(load_catalogue().names("canvas"))
USERS = TableName("canvas", "users")
Last = dict[TableName, datetime]


def ticks(days: int, turns: Turns = TURNS) -> list[datetime]:
    return [START + turns.rhythm * number for number in range(days * DAY // turns.rhythm)]


def is_on(at: datetime) -> bool:
    return True


def never(name: TableName) -> bool:
    return False


def run(
    last: Last,
    days: int,
    *,
    turns: Turns = TURNS,
    works: Callable[[datetime], bool] = is_on,
    fails: Callable[[TableName], bool] = never,
) -> Iterator[tuple[datetime, set[TableName]]]:
    """Let the schedule go on for some days, and keep `last` as the lake does.

    A snapshot is there some minutes after its tick.
    """
    for at in ticks(days, turns):
        if works(at):
            due = snapshots_due(list(last), last, at, turns)
            yield at, due
            last |= {name: at + timedelta(minutes=20) for name in due if not fails(name)}


def steady() -> Last:
    """Give the state of a schedule that never missed a turn."""
    last: Last = {}
    for at in ticks(30):
        last |= {name: at - EVERY for name in NAMES if TURNS.is_own(name, at)}
    return last


def own_turn(name: TableName = USERS) -> datetime:
    return next(at for at in ticks(30) if TURNS.is_own(name, at))


def most_at(names: Sequence[TableName], at: datetime, turns: Turns = TURNS) -> int:
    """Tell how many tables a tick may take at most."""
    own = sum(turns.is_own(name, at) for name in names)
    return max(own, 2 * -(-len(names) // turns.count))


def test_each_table_is_due_once_in_a_span_and_no_day_takes_all() -> None:
    due = [found for _, found in run(steady(), 30)]
    assert Counter(name for found in due for name in found) == Counter(NAMES)
    days = [sum(map(len, due[day : day + 6])) for day in range(0, 180, 6)]
    assert max(days) <= len(NAMES) // 6


def test_without_a_span_no_table_is_due() -> None:
    last = dict.fromkeys(NAMES, START - 1000 * DAY)
    assert not any(due for _, due in run(last, 30, turns=Turns(FOUR_HOURS, timedelta())))


@pytest.mark.parametrize("hours", [1, 12, 23, 24])
def test_with_a_span_of_at_most_the_rhythm_every_table_is_due_at_each_tick(hours: int) -> None:
    turns = Turns(DAY, timedelta(hours=hours))
    assert all(due == set(NAMES) for _, due in run(steady(), 30, turns=turns))


def test_a_table_that_is_not_in_the_lake_is_never_due() -> None:
    assert not any(snapshots_due([USERS], {}, at, TURNS) for at in ticks(30))


def test_a_table_whose_last_snapshot_is_unknown_has_its_turn_alone() -> None:
    due = [at for at in ticks(60) if snapshots_due([USERS], {USERS: None}, at, TURNS)]
    assert due == [own_turn(), own_turn() + EVERY]


@pytest.mark.parametrize(("age", "is_due"), [(1, False), (14, False), (16, True), (29, True)])
def test_a_snapshot_of_the_last_half_of_the_span_stands_for_the_turn(
    age: int, is_due: bool
) -> None:
    at = own_turn()
    assert (USERS in snapshots_due(NAMES, {USERS: at - age * DAY}, at, TURNS)) is is_due


def test_a_missed_turn_is_made_up_for_within_two_days() -> None:
    """One turn after another is missed; before, the table waited for the next one."""
    for name in NAMES[::5]:
        missed = own_turn(name)
        taken = [at for at, due in run(steady(), 40, works=missed.__ne__) if name in due]
        assert timedelta() < taken[0] - missed <= 2 * DAY, name


def test_after_a_summer_all_tables_are_taken_within_a_fortnight_and_no_day_takes_all() -> None:
    last = {name: START - 90 * DAY - number * FOUR_HOURS for number, name in enumerate(NAMES)}
    taken: Counter[int] = Counter()
    for at, due in run(last, 14):
        assert len(due) <= most_at(NAMES, at)
        taken[(at - START) // DAY] += len(due)
    assert min(last.values()) > START
    assert max(taken.values()) <= 20
    # And then it goes on: no table waits longer than the span and as many days.
    for at, _ in run(last, 90):
        assert at - min(last.values()) <= EVERY + 14 * DAY


def test_tables_that_were_all_loaded_on_one_day_are_spread() -> None:
    last = dict.fromkeys(NAMES, START)
    taken: Counter[int] = Counter()
    for at, due in run(last, 90):
        taken[(at - START) // DAY] += len(due)
        assert at - min(last.values()) <= EVERY + 14 * DAY
    assert max(taken.values()) <= 20


def test_the_oldest_of_the_overdue_come_first() -> None:
    last = {name: START - 90 * DAY - number * DAY for number, name in enumerate(NAMES)}
    for at, due in run(last, 5):
        tried = [n for n in NAMES if TURNS.is_for_overdue(n, at) and at - last[n] >= EVERY]
        others = [name for name in tried if name not in due]
        chosen = [name for name in due if not TURNS.is_own(name, at)]
        assert all(last[a] <= last[b] for a in chosen for b in others)


def test_a_machine_that_is_off_every_night_misses_no_table() -> None:
    last = steady()
    for at, _ in run(last, 90, works=lambda at: 7 <= at.hour <= 19):
        assert at - min(last.values()) <= EVERY + 10 * DAY


def test_a_table_whose_snapshots_fail_takes_what_changed_at_most_ticks() -> None:
    last = dict.fromkeys(NAMES, START - 90 * DAY)
    failing = set(NAMES[:3])
    tried: Counter[TableName] = Counter()
    for _, due in run(last, 90, fails=failing.__contains__):
        tried.update(due)
    others = {name: at for name, at in last.items() if name not in failing}
    assert all(tried[name] <= len(ticks(90)) / 4 for name in failing)
    assert START + 90 * DAY - min(others.values()) <= EVERY + EVERY / 2


@st.composite
def outages(draw: st.DrawFn) -> list[tuple[datetime, datetime]]:
    found = []
    for start, length in draw(
        st.lists(st.tuples(st.integers(0, 90 * 24), st.integers(1, 40 * 24)), max_size=5)
    ):
        since = START + timedelta(hours=start)
        found.append((since, since + timedelta(hours=length)))
    return found


@settings(max_examples=25, deadline=None)
@given(
    off=outages(),
    tables=st.integers(1, len(NAMES)),
    turns=st.sampled_from(
        [TURNS, Turns(DAY, EVERY), Turns(2 * FOUR_HOURS, EVERY), Turns(FOUR_HOURS, 7 * DAY)]
    ),
    ages=st.lists(st.integers(0, 60 * 24), min_size=1, max_size=20),
)
def test_every_table_is_taken_within_one_and_a_half_spans_of_a_machine_that_is_on(
    off: list[tuple[datetime, datetime]], tables: int, turns: Turns, ages: list[int]
) -> None:
    names = NAMES[:tables]
    last = {
        name: START - timedelta(hours=ages[number % len(ages)]) for number, name in enumerate(names)
    }
    is_off = [at for at in ticks(90, turns) if any(a <= at < b for a, b in off)]
    for at, due in run(last, 90, turns=turns, works=lambda at: at not in is_off):
        assert len(due) <= most_at(names, at, turns)
        on_since = max([START, *(each for each in is_off if each < at)])
        # Each table had its turn since then, and was taken or had a snapshot of half a span before.
        if at - on_since > turns.every:
            after = dict.fromkeys(due, at)
            assert min((last | after).values()) >= at - 1.5 * turns.every
