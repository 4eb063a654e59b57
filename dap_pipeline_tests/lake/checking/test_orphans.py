"""References are looked up in the tables that they lead to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dap_pipeline.lake.checking.results import CheckName, CheckResult, Severity
from dap_pipeline.lake.columns import Mask, TableShape
from dap_pipeline.lake.tables import Lake
from dap_pipeline_tests.lake.making import INT64, STRING, shape

from .school import (
    ENROLLMENT,
    ENROLLMENTS,
    NOON,
    TAGS,
    USER,
    USERS,
    check,
    good_rows,
    put,
    result_of,
    told,
    users,
)


def references(lake: Lake, name: Any = ENROLLMENTS, **more: Any) -> CheckResult:
    return result_of(check(lake, name, **more), CheckName.REFERENCES_RESOLVE)


def test_a_row_that_refers_to_nobody_is_a_warning_with_identifiers(lake: Lake) -> None:
    put(lake, USERS, USER, users(1))
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows(5))
    result = references(lake)
    assert (result.passed, result.severity, result.count) == (False, Severity.WARN, 3)
    assert told(result) == [
        "user_id: 3 rows refer to no row of canvas.users, such as 2",
    ]


def test_a_reference_to_an_empty_table_leads_nowhere(lake: Lake) -> None:
    put(lake, USERS, USER, [])
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows(5))
    assert references(lake).count == 5


def test_no_reference_is_no_broken_one(lake: Lake) -> None:
    put(lake, USERS, USER, users(1))
    put(lake, ENROLLMENTS, ENROLLMENT, [{"id": 1}])
    assert references(lake).passed


def test_a_table_that_is_not_in_the_lake_is_told_and_fails_nothing(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    result = references(lake)
    assert result.passed
    assert told(result) == ["user_id: canvas.users is not in the lake"]
    assert "1 more cannot be checked" in result.summary


def test_a_row_that_is_younger_than_the_other_table_is_not_looked_at(lake: Lake) -> None:
    put(lake, USERS, USER, users(1))
    young = [{"id": 1, "user_id": 7, "meta_ts": (NOON + timedelta(seconds=1)).isoformat()}]
    put(lake, ENROLLMENTS, ENROLLMENT, young)
    assert references(lake).passed
    old = [{"id": 1, "user_id": 7, "meta_ts": NOON.isoformat()}]
    put(lake, ENROLLMENTS, ENROLLMENT, old)
    assert not references(lake).passed


def test_a_sample_looks_at_some_rows_and_the_same_ones_each_time(lake: Lake) -> None:
    put(lake, USERS, USER, users(1))
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows(1000))
    some = references(lake, reference_rows=100)
    assert "(a sample of 1,000)" in some.summary
    assert 10 <= some.count <= 120
    assert references(lake, reference_rows=100) == some
    assert references(lake, reference_rows=0).count == 500


TAG = shape(
    {
        "context_id": INT64,
        "context_type": {"type": "string", "enum": ["User", "Course", "Purgatory"]},
    }
)


def tagged(lake: Lake, table: TableShape = TAG) -> CheckResult:
    put(lake, USERS, USER, users(1))
    rows = [
        {"id": 1, "context_id": 1, "context_type": "User"},
        {"id": 2, "context_id": 2, "context_type": "User"},
        {"id": 3, "context_id": 3, "context_type": "Purgatory"},
    ]
    put(lake, TAGS, table, rows)
    return references(lake, TAGS)


def test_a_companion_says_which_table_a_row_refers_to(lake: Lake) -> None:
    assert told(tagged(lake)) == [
        "context_id (context_type User): 1 rows refer to no row of canvas.users, such as 2",
        "context_id (context_type Course): canvas.courses is not in the lake",
    ]


def test_a_companion_without_members_leaves_the_reference_out(lake: Lake) -> None:
    plain = shape({"context_id": INT64, "context_type": STRING})
    assert tagged(lake, plain).details == ()


def masked(table: TableShape, name: str, mask: Mask, key: str = "abcd") -> TableShape:
    columns = tuple(replace(c, masked=mask) if c.name == name else c for c in table.columns)
    return replace(table, columns=columns, mask_key=key)


@pytest.mark.parametrize(("key", "is_checked"), [("abcd", True), ("ffff", False)])
def test_two_columns_hashed_by_one_key_can_be_compared(
    lake: Lake, key: str, is_checked: bool
) -> None:
    put(lake, USERS, masked(USER, "id", Mask.HASH), users(1))
    put(lake, ENROLLMENTS, masked(ENROLLMENT, "user_id", Mask.HASH, key), good_rows())
    assert references(lake).passed is not is_checked


def test_a_hashed_column_cannot_be_compared_with_a_plain_one(lake: Lake) -> None:
    put(lake, USERS, USER, users(1))
    put(lake, ENROLLMENTS, masked(ENROLLMENT, "user_id", Mask.HASH), good_rows())
    result = references(lake)
    assert result.passed
    assert "masked" in result.details[0].note


def test_another_width_of_whole_numbers_can_be_compared(lake: Lake) -> None:
    small = shape({"user_id": {"type": "integer", "format": "int32"}})
    put(lake, USERS, USER, users(1))
    put(lake, ENROLLMENTS, small, [{"id": 1, "user_id": 2}])
    assert references(lake).count == 1
