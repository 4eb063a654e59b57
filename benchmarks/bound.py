"""What DAP's limits allow where nobody knows how long a job takes, and how near ours comes.

``python -m benchmarks.bound`` prints the table of docs/speed.md.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from dap_pipeline.dap.jobs import JobPace
from dap_pipeline.dap.limits import MARGIN_SECONDS

MINUTE = 60.0


@dataclass(frozen=True)
class Budget:
    """Calls that DAP allows within any minute."""

    creates: int = 5
    polls: int = 500


DOCUMENTED = Budget()


def bound(durations: Sequence[float], budget: Budget = DOCUMENTED) -> float:
    """Give the least seconds until the last job is complete, started in the given order.

    Whoever knew the lengths would start the longest first and be done a little earlier.
    """
    return max(
        number // budget.creates * MINUTE + seconds for number, seconds in enumerate(durations)
    )


def mixed_jobs(count: int, seed: int = 1) -> list[float]:
    """Draw the lengths of jobs between 5 and 120 seconds, the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311  # nothing secret is drawn
    return [draw.uniform(5, 120) for _ in range(count)]


@dataclass(frozen=True)
class Simulated:
    """How a run goes by our pacing."""

    seconds: float
    polls: int
    most_polls_in_a_minute: int
    most_jobs: int
    """Jobs under way at the same time."""


class Slots:
    """The limiter's arithmetic: a call comes a period after the one so many calls before it."""

    def __init__(self, limit: int, period: float) -> None:
        self._last: deque[float] = deque(maxlen=limit)
        self._minute: deque[float] = deque()
        self._period = period
        self.count = 0
        self.most = 0

    def take(self, at: float) -> float:
        """Take the first slot that is free at this time or later, and tell when that is."""
        if len(self._last) == self._last.maxlen:
            at = max(at, self._last[0] + self._period)
        self._last.append(at)
        self._note(at)
        return at

    def _note(self, at: float) -> None:
        self._minute.append(at)
        while self._minute[0] <= at - MINUTE:
            self._minute.popleft()
        self.count += 1
        self.most = max(self.most, len(self._minute))


def simulate(
    durations: Sequence[float],
    *,
    parallel: int,
    pace: JobPace | None = None,
    budget: Budget = DOCUMENTED,
) -> Simulated:
    """Run jobs by our pacing in simulated time; calls and downloads take no time.

    Polls are counted from the job's start, which comes when its slot is free.
    """
    pace = pace or JobPace()
    creates = Slots(budget.creates, MINUTE + MARGIN_SECONDS)
    polls = Slots(budget.polls, MINUTE + MARGIN_SECONDS)
    waiting = deque(durations)
    # Events in the order of time: a worker is free (no job), or a poll of its job is due.
    events: list[tuple[float, int, float, float]] = [
        (0.0, worker, 0, 0) for worker in range(parallel)
    ]
    heapq.heapify(events)
    last, under_way, most = 0.0, 0, 0
    while events:
        due, worker, started, seconds = heapq.heappop(events)
        if not seconds:
            if waiting:
                began = creates.take(due)
                under_way, most = under_way + 1, max(most, under_way + 1)
                poll = began + pace.poll_after(0)
                heapq.heappush(events, (poll, worker, began, waiting.popleft()))
            continue
        asked = polls.take(due)
        if asked >= started + seconds:
            last, under_way = max(last, asked), under_way - 1
            heapq.heappush(events, (asked, worker, 0, 0))
        else:
            poll = asked + pace.poll_after(asked - started)
            heapq.heappush(events, (poll, worker, started, seconds))
    return Simulated(last, polls.count, polls.most, most)


# Job starts a minute, and tables in flight: the default, and as many as so many starts need.
_SCHOOLS = ((DOCUMENTED, 10), (Budget(creates=50), 10), (Budget(creates=50), 106))


def table() -> str:
    """Write the bound and the simulation for schools of several sizes as Markdown."""
    lines = [
        "| tables | job starts a minute | tables in flight | the limits allow | simulated | ratio "
        "| polls a minute |",
        "|---|---|---|---|---|---|---|",
    ]
    for count in (100, 1_000, 10_000):
        jobs = mixed_jobs(count)
        for budget, parallel in _SCHOOLS:
            least = bound(jobs, budget)
            ran = simulate(jobs, parallel=parallel, budget=budget)
            lines.append(
                f"| {count:,} | {budget.creates} | {parallel} | {_span(least)} "
                f"| {_span(ran.seconds)} | {ran.seconds / least:.3f} "
                f"| {ran.most_polls_in_a_minute} |"
            )
    return "\n".join(lines) + "\n"


def _span(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02} min {rest % 60:02} s"


if __name__ == "__main__":
    print(table(), end="")
