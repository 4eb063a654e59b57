"""Rubrics and learning outcomes: what is to be learned, and how far it has been."""

from __future__ import annotations

from .expressions import (
    chance,
    instant,
    later,
    maybe,
    moment,
    one_of,
)
from .recipe import Recipe
from .submissions import graded
from .words import words
from .world import World

ACCOUNT_OUTCOMES = 30


def recipes(world: World) -> list[Recipe]:
    """The tables about rubrics and outcomes, parents first."""
    return [
        _rubrics(world),
        _rubric_associations(world),
        _rubric_assessments(),
        _outcome_groups(world),
        _outcomes(world),
        _results(),
        _question_results(),
        *_proficiencies(world),
    ]


def _rubrics(world: World) -> Recipe:
    return Recipe(
        "canvas.rubrics",
        f"""
        SELECT c.id, c.id AS context_id, 'Course' AS context_type, e.user_id, c.created_at
        FROM canvas.courses c JOIN canvas.enrollments e ON e.id = c.id * 256 + 60
        WHERE {world.draw("rubric", "c.id", 10)} < 6
        """,
        {
            "workflow_state": "'active'",
            "points_possible": "20.0",
            "association_count": "1",
            "title": one_of("title", ("Essay rubric", "Bewertung", "Grille d'évaluation", "Lab")),
        },
    )


def _rubric_associations(world: World) -> Recipe:
    return Recipe(
        "canvas.rubric_associations",
        f"""
        SELECT a.id, r.id AS rubric_id, a.id AS association_id, 'Assignment' AS association_type,
            r.context_id, 'Course' AS context_type, a.created_at, a.title
        FROM canvas.rubrics r JOIN canvas.assignments a ON a.context_id = r.context_id
        WHERE a.id % 32 = 0 OR {world.draw("rubric used", "a.id", 12)} = 0
        """,
        {
            "workflow_state": "'active'",
            "purpose": "'grading'",
            "use_for_grading": chance("grading", 700),
            "hide_points": "false",
            "bookmarked": "true",
        },
    )


def _rubric_assessments() -> Recipe:
    return Recipe(
        "canvas.rubric_assessments",
        """
        SELECT s.id, s.user_id, s.grader_id AS assessor_id, r.id AS rubric_association_id,
            r.rubric_id, s.id AS artifact_id, 'Submission' AS artifact_type,
            s.graded_at AS created_at, s.attempt AS artifact_attempt
        FROM canvas.rubric_associations r JOIN canvas.submissions s
            ON s.assignment_id = r.association_id
        WHERE s.graded_at IS NOT NULL AND s.id // 32 % 2 = 0
        """,
        {
            "score": graded("20.0", "user_id"),
            "assessment_type": "'grading'",
            "hide_points": "false",
            "updated_at": "created_at",
        },
    )


def _outcome_groups(world: World) -> Recipe:
    made = later(instant(world.began), "86400")
    return Recipe(
        "canvas.learning_outcome_groups",
        f"""
        SELECT a.id, a.id AS context_id, 'Account' AS context_type,
            NULL AS learning_outcome_group_id, NULL AS root_learning_outcome_group_id,
            {made} AS created_at
        FROM canvas.accounts a WHERE a.id < 4
        UNION ALL
        SELECT 10 + i, 1 + i % 3, 'Account', 1 + i % 3, 1 + i % 3, {made} FROM range(6) t(i)
        UNION ALL
        SELECT c.id, c.id, 'Course', NULL, NULL, c.created_at FROM canvas.courses c
            WHERE c.id % 3 = 0
        """,
        {"title": one_of("title", words().subjects)},
    )


def _outcomes(world: World) -> Recipe:
    return Recipe(
        "canvas.learning_outcomes",
        f"""
        SELECT 1 + i AS id, 1 + i % 3 AS context_id, 'Account' AS context_type,
            concat('account_', 1 + i % 3) AS context_code,
            {later(instant(world.began), "90000")} AS created_at
        FROM range({ACCOUNT_OUTCOMES}) t(i)
        UNION ALL
        SELECT c.id, c.id, 'Course', concat('course_', c.id), c.created_at
        FROM canvas.courses c WHERE c.id % 3 = 0
        """,
        {
            "calculation_method": one_of("method", ("decaying_average", "weighted_average")),
            "calculation_int": "65",
        },
    )


def _results() -> Recipe:
    return Recipe(
        "canvas.learning_outcome_results",
        f"""
        SELECT s.id, s.user_id, s.course_id AS context_id, 'Course' AS context_type,
            s.id AS artifact_id, concat('course_', s.course_id) AS context_code,
            'Submission' AS artifact_type, s.assignment_id AS associated_asset_id,
            'Assignment' AS associated_asset_type, s.attempt, s.assignment_id AS association_id,
            'Assignment' AS association_type, s.submitted_at, s.graded_at AS assessed_at,
            s.graded_at AS created_at,
            1 + s.assignment_id % {ACCOUNT_OUTCOMES} AS learning_outcome_id, u.uuid AS user_uuid
        FROM canvas.submissions s JOIN canvas.users u ON u.id = s.user_id
        WHERE s.graded_at IS NOT NULL AND s.assignment_id % 7 = 0 AND s.course_id % 2 = 0
        """,
        {
            "possible": "5.0",
            "score": graded("5.0", "user_id"),
            "percent": "score / possible",
            "mastery": "score >= 3.0",
            "original_score": "score",
            "original_possible": "possible",
            "original_mastery": "mastery",
            "updated_at": "created_at",
            "hidden": "false",
            "hide_points": "false",
        },
    )


def _question_results() -> Recipe:
    return Recipe(
        "canvas.learning_outcome_question_results",
        """
        SELECT r.id, r.id AS learning_outcome_result_id, r.learning_outcome_id, r.created_at,
            r.assessed_at, r.submitted_at, r.attempt, q.id AS associated_asset_id,
            'AssessmentQuestion' AS associated_asset_type, q.name AS title
        FROM canvas.learning_outcome_results r
        JOIN canvas.assessment_questions q ON q.id = r.context_id * 64 + r.id % 4
        WHERE r.id // 32 % 3 = 0
        """,
        {
            "possible": "1.0",
            "score": maybe("right", 700, "1.0", "0.0"),
            "percent": "score",
            "mastery": "score = 1.0",
            "original_score": "score",
            "original_possible": "possible",
            "original_mastery": "mastery",
        },
    )


def _proficiencies(world: World) -> list[Recipe]:
    made = moment("made", world.newest_from, world.now_sql)
    return [
        Recipe(
            "canvas.outcome_proficiencies",
            "SELECT id, id AS context_id, 'Account' AS context_type FROM canvas.accounts"
            " WHERE id < 5",
            {"created_at": made, "workflow_state": "'active'"},
        ),
        Recipe(
            "canvas.outcome_proficiency_ratings",
            """
            SELECT p.id * 8 + n AS id, p.id AS outcome_proficiency_id, p.created_at, n,
                n < 2 AS mastery, CAST(4 - n AS DOUBLE) AS points,
                ['02672D', '03893D', 'FAB901', 'E0061F', '555555'][n + 1] AS color,
                ['Exceeds', 'Mastery', 'Near', 'Below', 'No evidence, yet'][n + 1] AS description
            FROM canvas.outcome_proficiencies p CROSS JOIN range(5) t(n)
            """,
            {"workflow_state": "'active'"},
        ),
    ]
