"""Each check passes on good data and fails on bad."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dap_pipeline.lake.checking.results import CheckName, CheckReport, CheckResult, Severity
from dap_pipeline.lake.checking.run import check_table
from dap_pipeline.lake.columns import Mask
from dap_pipeline.lake.contract import Contracts
from dap_pipeline.lake.places import Places
from dap_pipeline.lake.tables import Lake
from dap_pipeline_tests.lake.making import INT64, STRING, object_of, shape

from .school import (
    ENROLLMENT,
    ENROLLMENTS,
    USER,
    USERS,
    VALUES,
    check,
    good_rows,
    put,
    result_of,
    rules,
    told,
    users,
)


def checked(
    lake: Lake, rows: list[Any], name: CheckName, table: Any = ENROLLMENT, **more: Any
) -> CheckResult:
    put(lake, ENROLLMENTS, table, rows)
    return result_of(check(lake, **more), name)


def test_good_data_passes_every_check_over_several_files(lake: Lake) -> None:
    put(lake, USERS, USER, users(1, 2))
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows(), files=3)
    report = check(lake)
    assert [result.name for result in report.results] == list(CheckName)
    assert [result.name for result in report.results if not result.passed] == []
    assert report.version == 0
    assert report.failed(Severity.ERROR) == report.failed(Severity.WARN) == ()


def test_an_empty_table_passes_every_check(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, [])
    assert all(result.passed for result in check(lake).results)


def test_a_table_that_is_not_there_cannot_be_checked(lake: Lake, tmp_path: Path) -> None:
    assert check_table(lake, ENROLLMENTS, rules(tmp_path)) is None


def test_a_repeated_key_is_an_error_with_examples(lake: Lake) -> None:
    rows = [*good_rows(), *good_rows(2)]
    put(lake, ENROLLMENTS, ENROLLMENT, rows, files=2)
    result = result_of(check(lake), CheckName.KEY_IS_UNIQUE)
    assert (result.passed, result.severity, result.count) == (False, Severity.ERROR, 2)
    assert told(result) == ["id: 2 keys occur more than once, such as 1, 2"]


def test_a_key_of_several_columns_may_repeat_one_of_them(lake: Lake) -> None:
    table = shape({}, {"id": INT64, "shard": STRING})
    rows = [{"id": 1, "shard": "a"}, {"id": 1, "shard": "b"}]
    assert checked(lake, rows, CheckName.KEY_IS_UNIQUE, table).passed
    result = checked(lake, [*rows, rows[0]], CheckName.KEY_IS_UNIQUE, table)
    assert told(result) == ["id, shard: 1 keys occur more than once, such as (1, a)"]


def test_a_key_without_a_value_is_an_error(lake: Lake) -> None:
    result = checked(lake, [*good_rows(), {"user_id": 1}], CheckName.KEY_IS_UNIQUE)
    assert told(result) == ["id: 1 rows have no value"]


def test_a_required_value_that_is_missing_is_an_error(lake: Lake) -> None:
    rows = [*good_rows(), {"id": 9}]
    result = checked(lake, rows, CheckName.REQUIRED_IS_THERE)
    assert (result.passed, result.severity) == (False, Severity.ERROR)
    assert told(result) == ["user_id: 1 rows have no value"]


def test_a_column_that_older_rows_may_lack_is_not_required_of_them(lake: Lake) -> None:
    columns = tuple(replace(c, lacking=c.name == "user_id") for c in ENROLLMENT.columns)
    table = replace(ENROLLMENT, columns=columns)
    assert checked(lake, [{"id": 9}], CheckName.REQUIRED_IS_THERE, table).passed


def test_a_member_that_the_schema_does_not_list_is_a_warning(lake: Lake) -> None:
    rows = [*good_rows(), {"id": 9, "workflow_state": "asleep"}]
    result = checked(lake, rows, CheckName.MEMBERS_ARE_KNOWN)
    assert (result.passed, result.severity) == (False, Severity.WARN)
    line = "workflow_state: 1 rows have a value that the schema does not list, such as asleep"
    assert told(result) == [line]


def test_a_number_that_an_enumeration_of_numbers_does_not_list_is_a_warning(lake: Lake) -> None:
    table = shape({"status": {"type": "integer", "enum": [200, 404]}})
    assert checked(lake, [{"id": 1, "status": 200}], CheckName.MEMBERS_ARE_KNOWN, table).passed
    result = checked(lake, [{"id": 1, "status": 500}], CheckName.MEMBERS_ARE_KNOWN, table)
    assert result.details[0].examples == ("500",)


def test_the_members_of_a_masked_column_are_not_looked_at(lake: Lake) -> None:
    masked = tuple(
        replace(c, masked=Mask.HASH) if c.name == "workflow_state" else c
        for c in ENROLLMENT.columns
    )
    rows = [{"id": 9, "user_id": 1, "workflow_state": "0123456789abcdef"}]
    table = replace(ENROLLMENT, columns=masked)
    assert checked(lake, rows, CheckName.MEMBERS_ARE_KNOWN, table).passed


def test_a_table_that_lost_all_rows_is_an_error_unless_it_may(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    result = checked(lake, [], CheckName.ROW_COUNT_IS_PLAUSIBLE)
    assert (result.passed, result.severity) == (False, Severity.ERROR)
    assert result.summary == "0 rows, 4 before."
    permitted = check(lake, may_be_empty=Places(frozenset({"canvas"})))
    assert result_of(permitted, CheckName.ROW_COUNT_IS_PLAUSIBLE).passed


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [(400, 601, False), (400, 600, True), (400, 199, False), (10, 100, True)],
)
def test_many_rows_more_or_less_are_a_warning(
    lake: Lake, before: int, after: int, passed: bool
) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows(before))
    result = checked(lake, good_rows(after), CheckName.ROW_COUNT_IS_PLAUSIBLE)
    assert (result.passed, result.severity, result.count) == (passed, Severity.WARN, after)


def test_no_limit_permits_any_number_of_rows(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows(400))
    rows = good_rows(1)
    assert checked(lake, rows, CheckName.ROW_COUNT_IS_PLAUSIBLE, row_change_warn=None).passed


def without(rows: list[Any], column: str) -> list[Any]:
    return [{name: value for name, value in row.items() if name != column} for row in rows]


@pytest.mark.parametrize("column", ["note", "settings"])
def test_a_column_that_lost_all_its_values_is_a_warning(lake: Lake, column: str) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    check(lake)
    result = checked(lake, without(good_rows(), column), CheckName.NO_COLUMN_WENT_NULL)
    assert (result.passed, result.severity, result.count) == (False, Severity.WARN, 1)
    assert result.details[0].place == column


def test_a_lost_column_is_found_without_a_report_about_the_version_before(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    result = checked(lake, without(good_rows(), "note"), CheckName.NO_COLUMN_WENT_NULL)
    assert told(result) == ["note: 4 values were there before, none now"]


def test_a_column_that_never_had_values_is_none_that_lost_them(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, without(good_rows(), "note"))
    result = checked(lake, without(good_rows(9), "note"), CheckName.NO_COLUMN_WENT_NULL)
    assert result.passed


def test_placeholders_are_counted_and_many_of_them_are_a_warning(lake: Lake) -> None:
    rows: list[Any] = good_rows(200)
    rows[0]["note"] = "__dap_oversized_truncated__"
    few = checked(lake, rows, CheckName.PLACEHOLDERS)
    assert (few.passed, few.count) == (True, 1)
    line = "note: 1 texts were too long and replaced by DAP (0.5% of its values)"
    assert told(few) == [line]
    for row in rows[1:9]:
        row |= {"note": "__cd2_oversized_truncated__", "workflow_state": "__dap_unspecified__"}
    many = checked(lake, rows, CheckName.PLACEHOLDERS)
    assert (many.passed, many.severity, many.count) == (False, Severity.WARN, 17)
    assert [d.place for d in many.details] == ["note", "workflow_state"]
    assert result_of(check(lake), CheckName.MEMBERS_ARE_KNOWN).passed


def test_a_change_of_schema_is_described_and_fails_where_the_contract_warns(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    table = shape({**VALUES, "grade": INT64}, required=["user_id"], version=2)
    result = checked(lake, good_rows(), CheckName.SCHEMA_IS_AS_BEFORE, table)
    assert (result.passed, result.count) == (True, 1)
    assert result.details[0].note == ("Column grade was added as BIGINT (schema version 1 to 2).")
    warned = check(lake, contracts=Contracts.parse("canvas=warn"))
    result = result_of(warned, CheckName.SCHEMA_IS_AS_BEFORE)
    assert (result.passed, result.severity) == (False, Severity.WARN)


def test_the_same_schema_is_as_before(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    strict = Contracts.parse("*=warn")
    assert checked(lake, good_rows(), CheckName.SCHEMA_IS_AS_BEFORE, contracts=strict).passed


def test_files_that_lack_a_column_of_the_table_are_read_with_nulls(lake: Lake) -> None:
    wide = shape({"a": STRING, "b": object_of(c=STRING, d=STRING)})
    narrow = shape({"a": STRING})
    old = put(lake, ENROLLMENTS, narrow, [{"id": 1, "a": "x"}])
    new = put(lake, ENROLLMENTS, wide, [{"id": 2, "a": "y", "b": {"c": "z"}}])
    from dap_pipeline.lake.checking.facts import read_facts
    from dap_pipeline.lake.duck import connect

    both = replace(new, files=(*old.files, *new.files), rows=2)
    with connect(rules(lake.root.parent).options) as connection:
        facts = read_facts(connection, both)
    assert facts.values == {"id": 2, "a": 2, "b": 1, "meta_ts": 2}


def test_a_report_can_be_written_and_read(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, [*good_rows(), *good_rows()])
    report = check(lake)
    assert CheckReport.model_validate_json(report.model_dump_json()) == report
