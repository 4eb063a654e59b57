"""References are known as far as the shipped list and a companion column tell them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.columns import Mask, shape_of
from dap_pipeline.lake.references import (
    Reference,
    Target,
    all_targets,
    references_of,
    table_of_class,
)

from .checking.school import ENROLLMENT, ENROLLMENTS, TAGS
from .making import INT64, shape

TYPES = {"type": "string", "enum": ["User", "Quizzes::Quiz", "Purgatory"]}
TAG = shape({"context_id": INT64, "context_type": TYPES})


def target(table: str) -> Target:
    return Target(TableName("canvas", table), "id")


def test_a_column_of_one_target_refers_to_it_in_every_row() -> None:
    assert references_of(ENROLLMENTS, ENROLLMENT) == (Reference("user_id", target("users")),)


def test_a_column_with_a_companion_refers_to_what_its_members_name() -> None:
    assert references_of(TAGS, TAG) == (
        Reference("context_id", target("quizzes"), "context_type", ("Quizzes::Quiz",)),
        Reference("context_id", target("users"), "context_type", ("User",)),
    )


def test_a_masked_companion_tells_nothing() -> None:
    columns = tuple(
        replace(c, masked=Mask.HASH) if c.name == "context_type" else c for c in TAG.columns
    )
    assert references_of(TAGS, replace(TAG, columns=columns)) == ()


def test_a_table_that_is_not_in_the_list_refers_to_nothing() -> None:
    assert references_of(TableName("canvas", "elsewhere"), ENROLLMENT) == ()


@pytest.mark.parametrize(
    ("member", "table"),
    [
        ("Course", "courses"),
        ("CourseSection", "course_sections"),
        ("Quizzes::QuizSubmission", "quiz_submissions"),
        ("Lti::ResourceLink", "lti_resource_links"),
        ("LiveAssessments::Submission", "live_assessments_submissions"),
        ("GroupCategory", "group_categories"),
        ("DiscussionTopic", "discussion_topics"),
        ("Quiz", "quizzes"),
    ],
)
def test_a_class_of_canvas_names_its_table(member: str, table: str) -> None:
    assert table_of_class(member) == table


def test_every_known_reference_leads_from_a_column_to_a_column() -> None:
    catalogue = {t.name: shape_of(t.schema) for t in load_catalogue().tables}
    places = {(name, column.name) for name, shape in catalogue.items() for column in shape.columns}
    for name, columns in all_targets().items():
        for column, targets in columns.items():
            assert (name, column) in places
            assert {(target.table, target.column) for target in targets} <= places


def test_most_references_with_a_companion_can_be_told() -> None:
    told = left = 0
    for table in load_catalogue().tables:
        found = references_of(table.name, shape_of(table.schema))
        polymorphic = {c for c, ts in all_targets().get(table.name, {}).items() if len(ts) > 1}
        told += len(polymorphic & {r.column for r in found})
        left += len(polymorphic - {r.column for r in found})
    assert left == 1
    assert told > 30
