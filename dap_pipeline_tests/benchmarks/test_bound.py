from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bound import Budget, bound, mixed_jobs, simulate, table
from dap_pipeline.dap.jobs import JobPace

SPEED = Path(__file__).parent.parent.parent / "docs" / "speed.md"


def test_the_limits_allow_12_tables_in_two_minutes_and_a_job() -> None:
    assert bound([20.0] * 12) == 140.0


def test_the_bound_is_that_of_the_job_that_ends_last_and_not_of_the_last_job() -> None:
    assert bound([100.0, 1, 1, 1, 1, 5]) == 100.0
    assert bound([1.0] * 5) == 1.0
    assert bound([1.0] * 6) == 61.0
    assert bound([1.0] * 6, Budget(creates=6)) == 1.0


def test_the_bound_is_that_of_the_given_order() -> None:
    assert bound([1.0, 1, 1, 1, 1, 100]) == 160.0


def test_no_simulated_run_is_faster_than_the_bound() -> None:
    for count in (1, 5, 6, 119):
        jobs = mixed_jobs(count)
        assert simulate(jobs, parallel=12).seconds >= bound(jobs)


def test_a_run_with_room_for_every_job_comes_near_the_bound() -> None:
    jobs = mixed_jobs(119)
    ran = simulate(jobs, parallel=12)
    assert ran.seconds <= 1.02 * bound(jobs)
    assert ran.most_jobs <= 12
    assert ran.most_polls_in_a_minute <= 500


def test_too_few_tables_in_flight_cost_time() -> None:
    jobs = [600.0] * 60
    assert simulate(jobs, parallel=10).seconds > 2.5 * simulate(jobs, parallel=60).seconds


def test_a_job_that_waits_for_its_start_is_polled_as_often_as_the_first() -> None:
    """Else the long wait for its slot would make the time between its polls long."""
    first_minute = simulate([20.0] * 5, parallel=6).seconds
    assert simulate([20.0] * 6, parallel=6).seconds == pytest.approx(60.5 + first_minute)


def test_polls_never_exceed_their_budget() -> None:
    jobs = [30.0] * 200
    hasty = JobPace(first_poll=0.1, poll_share=0.0)
    budget = Budget(creates=100)
    assert simulate(jobs, parallel=100, pace=hasty, budget=budget).most_polls_in_a_minute == 500


def test_jobs_are_drawn_alike_each_time() -> None:
    assert mixed_jobs(20) == mixed_jobs(20)
    assert all(5 <= seconds <= 120 for seconds in mixed_jobs(1000))
    assert max(mixed_jobs(1000)) - min(mixed_jobs(1000)) == pytest.approx(115, abs=2)


def test_the_page_about_speed_shows_the_table_that_is_computed() -> None:
    assert table() in SPEED.read_text()
