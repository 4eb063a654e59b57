from __future__ import annotations

import time

import pytest

from dap_pipeline.dap.patience import Patience
from dap_pipeline.errors import (
    DamagedObjectError,
    InvalidQueryError,
    RateLimitedError,
    ServerError,
    UnreachableError,
)

PATIENCE = Patience(first_wait=0.5, longest_wait=60.0, total=600.0)


@pytest.mark.parametrize("failures", [1, 2, 3, 7])
def test_waits_double_and_are_jittered(failures: int) -> None:
    waits = [PATIENCE.wait_after(UnreachableError("gone"), failures) for _ in range(50)]
    middle = 0.5 * 2 ** (failures - 1)
    assert all(0.5 * middle <= wait <= 1.5 * middle for wait in waits)
    assert len(set(waits)) > 1


@pytest.mark.parametrize("failures", [8, 100, 100_000])
def test_waits_stop_growing(failures: int) -> None:
    assert 30.0 <= PATIENCE.wait_after(UnreachableError("gone"), failures) <= 90.0


def test_the_wait_that_the_service_names_is_kept() -> None:
    assert PATIENCE.wait_after(RateLimitedError("slow", retry_after=17.0), 1) == 17.0
    assert PATIENCE.wait_after(ServerError("down", retry_after=17.0), 1) == 17.0


def test_a_service_that_names_no_time_at_all_is_left_in_peace_all_the_same() -> None:
    assert PATIENCE.wait_after(RateLimitedError("slow", retry_after=0.0), 5) >= 4.0


def test_a_refusal_for_the_rate_without_a_time_waits_as_the_official_client_does() -> None:
    assert PATIENCE.wait_after(RateLimitedError("slow"), 1) == 30.0
    assert PATIENCE.wait_after(RateLimitedError("slow"), 9) == 30.0


def test_what_cannot_be_mended_by_trying_again_is_raised_at_once() -> None:
    with pytest.raises(InvalidQueryError):
        PATIENCE.tries().failed(InvalidQueryError("no"))


def test_a_next_try_that_would_come_too_late_is_not_waited_for() -> None:
    with pytest.raises(ServerError):
        PATIENCE.tries().failed(ServerError("down", retry_after=601.0))
    PATIENCE.tries().failed(ServerError("down", retry_after=599.0))


def test_patience_counts_from_the_first_failure_and_leaves_queues_out() -> None:
    tries = Patience(first_wait=0.0, total=30.0).tries()
    tries.failed(UnreachableError("gone"))
    tries.began -= 100.0  # as if that much time had passed
    tries.excuse(90.0)
    tries.failed(UnreachableError("gone"))
    tries.began -= 100.0
    with pytest.raises(UnreachableError):
        tries.failed(UnreachableError("gone"))
    assert tries.failures == 3


def test_damage_is_remembered_over_progress() -> None:
    tries = Patience(first_wait=0.0, damaged_tries=3).tries()
    for _ in range(2):
        tries.failed(DamagedObjectError("cut"))
        tries = tries.anew()
        tries.failed(UnreachableError("gone"))
    with pytest.raises(DamagedObjectError):
        tries.failed(DamagedObjectError("cut"))


def test_a_service_that_has_never_answered_is_given_less_time() -> None:
    assert Patience(total=600.0, first_contact=15.0).before_contact().total == 15.0
    assert Patience(total=5.0, first_contact=15.0).before_contact().total == 5.0


def test_tries_that_begin_anew_count_from_their_own_first_failure() -> None:
    tries = Patience(first_wait=0.0, total=30.0).tries()
    tries.failed(UnreachableError("gone"))
    tries.began = time.monotonic() - 29.9
    tries = tries.anew()
    tries.failed(UnreachableError("gone"))
    assert time.monotonic() - tries.began < 20.0
