"""Differences of two shapes are told exactly, and their merged shape holds the rows of both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dap_pipeline.errors import SchemaConflictError
from dap_pipeline.lake.coltypes import ColumnType, Kind, Member
from dap_pipeline.lake.columns import META_TS, Column, Section, TableShape
from dap_pipeline.lake.evolution import (
    What,
    changes_between,
    merged_shape,
    names_between,
    names_kept,
    set_aside,
)
from dap_pipeline.lake.mask_rules import parse_rules
from dap_pipeline.lake.widening import fits, wider_type

from .making import (
    DATE,
    DOUBLE,
    FLOAT,
    INT16,
    INT32,
    INT64,
    JSON,
    STRING,
    decimal,
    list_of,
    object_of,
    shape,
)

STATE = {"type": "string", "enum": ["available", "deleted"]}
MORE_STATES = {"type": "string", "enum": ["available", "deleted", "hidden"]}
UUID = {"type": "string", "format": "uuid"}
LONG_TEXT = {"oneOf": [{"type": "string", "const": "__dap_oversized_truncated__"}, STRING]}


def told(before: dict[str, Any], after: dict[str, Any], **more: Any) -> list[str]:
    old, new = shape(before), shape(after, version=2, **more)
    return [str(change) for change in changes_between(old, new)]


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "added": ({}, {"a": INT64}, "Column a was added as BIGINT"),
    "removed": ({"a": STATE}, {}, "Column a, which was VARCHAR (enum), was removed"),
    "widened": ({"a": INT16}, {"a": INT64}, "Column a was widened from SMALLINT to BIGINT"),
    "narrowed": ({"a": DOUBLE}, {"a": FLOAT}, "Column a was narrowed from DOUBLE to FLOAT"),
    "type": ({"a": STRING}, {"a": DATE}, "Column a changed its type from VARCHAR to DATE"),
    "member added": (
        {"a": STATE},
        {"a": MORE_STATES},
        "Column a permits available, deleted, hidden instead of available, deleted",
    ),
    "member of a struct": (
        {"a": object_of(b=INT32)},
        {"a": object_of(b=INT64)},
        "Column a.b was widened from INTEGER to BIGINT",
    ),
    "struct member added": (
        {"a": object_of(b=INT32)},
        {"a": object_of(b=INT32, c=STRING)},
        "Column a.c was added as VARCHAR",
    ),
    "element of a list": (
        {"a": list_of(UUID)},
        {"a": list_of(STRING)},
        "Column a[] was widened from VARCHAR (uuid) to VARCHAR",
    ),
    "marker": (
        {"a": STRING},
        {"a": LONG_TEXT},
        "Column a may stand for too long texts by a marker",
    ),
    "described": (
        {"a": {**STRING, "description": "Old."}},
        {"a": {**STRING, "description": "New."}},
        "Column a is described anew",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_difference_is_told_in_one_sentence_with_both_versions(case: str) -> None:
    before, after, sentence = CASES[case]
    assert told(before, after) == [f"{sentence} (schema version 1 to 2)."]


def test_a_value_that_became_required_is_told() -> None:
    sentence = "Column a became required (schema version 1 to 2)."
    assert told({"a": STRING}, {"a": STRING}, required=["a"]) == [sentence]


def test_another_key_is_told_of_the_table() -> None:
    old, new = shape({}), shape({}, {"id": INT64, "shard": INT64}, version=3)
    first, second = changes_between(old, new)
    assert (first.what, first.column) == (What.KEY, "")
    assert str(first) == "The key changed from (id) to (id, shard) (schema version 1 to 3)."
    assert str(second) == "Column shard was added as BIGINT (schema version 1 to 3)."


def test_only_another_description_is_harmless() -> None:
    old = shape({"a": {**STRING, "description": "Old."}})
    (words,) = changes_between(old, shape({"a": {**STRING, "description": "New."}}))
    (column,) = changes_between(old, shape({"a": {**STRING, "description": "Old."}, "b": STRING}))
    assert words.harmless
    assert not column.harmless


def test_an_increment_keeps_what_its_schema_lacks_before_meta_ts() -> None:
    merged = merged_shape(shape({"a": INT64, "b": INT64}), shape({"b": INT64}, version=2))
    assert [c.name for c in merged.columns] == ["id", "b", "a", "meta_ts"]
    assert [c.name for c in merged.columns if c.gone] == ["a"]
    assert merged.schema_version == 2


def test_a_column_that_is_gone_is_not_reported_as_removed_again() -> None:
    merged = merged_shape(shape({"a": INT64}), shape({}, version=2))
    assert changes_between(merged, shape({}, version=3)) == ()


def test_a_new_required_column_lacks_values_in_older_rows() -> None:
    merged = merged_shape(shape({}), shape({"a": INT64}, required=["a"], version=2))
    column = merged.column("a")
    assert (column.required, column.lacking) == (True, True)
    assert TableShape.from_delta_schema(merged.delta_schema()) == merged


def test_a_required_column_that_always_was_one_lacks_nothing() -> None:
    both = shape({"a": INT64}, required=["a"])
    assert not merged_shape(both, both).column("a").lacking


def test_an_enumeration_permits_the_members_of_both() -> None:
    merged = merged_shape(shape({"a": STATE}), shape({"a": {"type": "string", "enum": ["new"]}}))
    assert set(merged.column("a").members) == {"available", "deleted", "new"}


CONFLICTS = {
    "key": (shape({}), shape({}, {"id": INT64, "b": INT64}), r"the key was \(id\) and is \(id, b"),
    "type": (shape({"a": STRING}), shape({"a": DATE}), "a was VARCHAR and is DATE"),
    "whole numbers in floats": (shape({"a": INT64}), shape({"a": DOUBLE}), "BIGINT and is DOUBLE"),
    "case": (shape({"Name": STRING}), shape({"name": STRING}), "Name is now written name"),
    "json": (shape({"a": JSON}), shape({"a": STRING}), r"VARCHAR \(json\) and is VARCHAR"),
    "come back": (
        merged_shape(shape({"a": STRING}), shape({})),
        shape({"a": STRING}),
        "column a was removed and has come back",
    ),
    "member come back": (
        merged_shape(shape({"a": object_of(b=INT32, c=INT32)}), shape({"a": object_of(b=INT32)})),
        shape({"a": object_of(b=INT32, c=INT32)}),
        "a member of column a was removed and has come back",
    ),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_what_cannot_share_a_table_asks_for_a_snapshot(case: str) -> None:
    before, after, words = CONFLICTS[case]
    with pytest.raises(SchemaConflictError, match=words) as caught:
        merged_shape(before, after)
    assert "snapshot" in str(caught.value)


@pytest.mark.parametrize("case", [name for name in CONFLICTS if name != "key"])
def test_what_cannot_share_a_column_can_be_kept_under_another_name(case: str) -> None:
    before, after, _ = CONFLICTS[case]
    named = set_aside(before, after, never=())
    merged = merged_shape(named, after)
    ((old, new),) = names_between(before, named).items()
    kept = merged.column(new)
    assert new == f"{old}_before_v1"
    assert (kept.type, kept.gone, kept.formerly) == (before.column(old).type, True, old)
    assert TableShape.from_delta_schema(merged.delta_schema()) == merged
    (told,) = names_kept(before, named, after)
    assert str(told).startswith(
        f"Column {old} begins anew, and what it held before is kept as {new}"
    )
    # A rule that masks the column goes on masking what it held before.
    (rule,) = parse_rules(f"canvas.courses.{old}=null")
    assert rule.matches(kept)


def test_a_name_that_is_taken_is_not_given_twice_and_what_never_goes_stays() -> None:
    before = shape({"a": STRING, "a_before_v2": STRING, "b": STRING})
    after = shape({"a": DATE, "b": DATE}, version=2)
    named = set_aside(before, after, never=("b",))
    assert names_between(before, named) == {"a": "a_before_v2_2"}


PLAIN = [
    *(ColumnType(Kind.INTEGER, base) for base in ("SMALLINT", "INTEGER", "BIGINT")),
    *(ColumnType(Kind.FLOAT, base) for base in ("FLOAT", "DOUBLE")),
    *(ColumnType(kind) for kind in (Kind.TEXT, Kind.ENUM, Kind.UUID, Kind.JSON)),
    ColumnType(Kind.BOOLEAN, "BOOLEAN"),
    ColumnType(Kind.DATE, "DATE"),
]
decimals = st.integers(1, 38).flatmap(
    lambda digits: st.builds(
        ColumnType, st.just(Kind.DECIMAL), precision=st.just(digits), scale=st.integers(0, digits)
    )
)
plain = st.sampled_from(PLAIN) | decimals
names = st.sampled_from(["a", "b", "c", "d"])


def _struct(types: dict[str, ColumnType]) -> ColumnType:
    members = tuple(Member(name, kind) for name, kind in types.items())
    return ColumnType(Kind.STRUCT, members=members)


types = st.recursive(
    plain,
    lambda inner: (
        st.builds(ColumnType, st.just(Kind.LIST), item=inner)
        | st.dictionaries(names, inner, min_size=1).map(_struct)
    ),
    max_leaves=4,
)
columns = st.builds(
    Column,
    name=names,
    section=st.just(Section.VALUE),
    source=st.just(""),
    type=types,
    required=st.booleans(),
    description=st.sampled_from(["", "Words."]),
    members=st.sampled_from([(), ("x",), ("x", "y")]),
    oversized=st.booleans(),
)
ID = Column("id", Section.KEY, "id", ColumnType(Kind.INTEGER, "BIGINT"), required=True)
shapes = st.builds(
    lambda found, version: TableShape(
        (ID, *(replace(c, source=c.name) for c in found), META_TS), ("id",), version
    ),
    st.lists(columns, max_size=4, unique_by=lambda column: column.name),
    st.integers(1, 9),
)


@given(shapes)
def test_a_shape_has_no_difference_from_itself_in_any_order(one: TableShape) -> None:
    turned = replace(one, columns=(*one.columns[-2::-1], one.columns[-1]))
    assert changes_between(one, turned) == ()
    assert merged_shape(one, one) == one


@given(shapes, shapes)
def test_no_difference_means_the_same_columns(one: TableShape, other: TableShape) -> None:
    same = {c.name: replace(c, members=()) for c in one.columns} == {
        c.name: replace(c, members=()) for c in other.columns
    }
    assert same or changes_between(one, other)


@given(shapes, shapes)
def test_both_directions_tell_the_same_places(one: TableShape, other: TableShape) -> None:
    there = {c.column for c in changes_between(one, other)}
    back = {c.column for c in changes_between(other, one)}
    assert there == back


@given(shapes, shapes)
@settings(deadline=None)
def test_a_merged_shape_holds_both_and_merging_again_changes_nothing(
    one: TableShape, other: TableShape
) -> None:
    try:
        merged = merged_shape(one, other)
    except SchemaConflictError:
        return
    for part in (one, other):
        for column in part.columns:
            holder = merged.column(column.name).type
            assert wider_type(column.type, holder) == holder
    assert merged_shape(merged, other) == merged
    assert TableShape.from_delta_schema(merged.delta_schema()) == merged


BOUNDS = {"SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}


@given(st.sampled_from(PLAIN[:5]), plain, st.data())
@settings(deadline=None)
def test_a_number_that_fits_comes_back_the_same(
    narrow: ColumnType, wide: ColumnType, data: st.DataObject
) -> None:
    if not fits(narrow, wide) or wide.kind is Kind.TEXT:
        return
    bits = BOUNDS.get(narrow.base, 20)
    value = data.draw(st.integers(-(2**bits), 2**bits - 1))
    query = f"SELECT ('{value}'::{narrow.duckdb})::{wide.duckdb}::{narrow.duckdb}"
    assert duckdb.sql(query).fetchall() == [(value,)]


@pytest.mark.parametrize(
    ("narrow", "wide"), [(decimal(5, 2), decimal(6, 2)), (INT32, decimal(10, 0))]
)
def test_a_decimal_holds_what_has_no_more_digits_on_either_side(
    narrow: dict[str, Any], wide: dict[str, Any]
) -> None:
    small, large = (shape({"a": field}).column("a").type for field in (narrow, wide))
    assert fits(small, large)
    assert not fits(large, small)
