"""Assignments and what frames them: groups, dates for single sections, policies.

A course has 6 to 12 assignments; the id of number n is course * 32 + n. What kind it is follows
from n alone, so that quizzes, topics and tools can be made beside it.
"""

from __future__ import annotations

from .expressions import (
    between,
    chance,
    later,
    maybe,
    one_of,
    part_way,
    roll,
    weighted,
)
from .recipe import Recipe
from .words import words
from .world import World

FEWEST, MOST = 6, 12
SLOTS = 32
KINDS = (
    "online_text_entry",
    "online_upload",
    "discussion_topic",
    "online_quiz",
    "online_url",
    "external_tool",
    "online_upload",
    "online_quiz",
    "media_recording",
    "online_text_entry",
    "not_graded",
    "online_upload",
)


def recipes(world: World) -> list[Recipe]:
    """The tables about assignments, parents first."""
    return [
        _groups(),
        _assignments(world),
        _overrides(world),
        _override_students(),
        _late_policies(world),
        _post_policies(world),
    ]


def _groups() -> Recipe:
    return Recipe(
        "canvas.assignment_groups",
        """
        SELECT c.id * 4 + n AS id, c.id AS context_id, 'Course' AS context_type, c.created_at,
            n + 1 AS position, ['Assignments', 'Quizzes', 'Extra "credit"'][n + 1] AS name,
            [60.0, 40.0, 0.0][n + 1] AS group_weight
        FROM canvas.courses c CROSS JOIN range(3) t(n) WHERE n < 2 OR c.id % 4 = 0
        """,
        {"workflow_state": maybe("deleted", 10, "'deleted'", "'available'")},
    )


def _assignments(world: World) -> Recipe:
    kinds = ", ".join(f"'{kind}'" for kind in KINDS)
    grading = weighted("grading", {"points": 8, "percent": 2, "letter_grade": 1, "pass_fail": 1})
    due = part_way("c.start_at", "c.conclude_at", "n + 1", "c.number + 1")
    number = f"{FEWEST} + {world.draw('assignments', 'id', MOST - FEWEST + 1)}"
    return Recipe(
        "canvas.assignments",
        f"""
        SELECT c.id * {SLOTS} + n AS id, c.id AS context_id, 'Course' AS context_type, n,
            [{kinds}][n + 1] AS kind, c.created_at AS born, c.workflow_state AS course_state,
            n + 1 AS position,
            CAST(CAST({due} AS DATE) AS TIMESTAMP) + to_seconds(82799) AS due_at,
            c.id * 4 + CASE WHEN [{kinds}][n + 1] = 'online_quiz' THEN 1 ELSE 0 END
                AS assignment_group_id
        FROM (SELECT *, {number} AS number FROM canvas.courses) c CROSS JOIN range({MOST}) t(n)
            WHERE n < c.number
        """,
        {
            "submission_types": "[kind]",
            "grading_type": f"CASE WHEN kind = 'not_graded' THEN kind ELSE {grading} END",
            "points_possible": "CASE WHEN kind = 'not_graded' THEN NULL ELSE"
            f" CAST({one_of('points', (5, 10, 10, 20, 50, 100))} AS DOUBLE) END",
            "workflow_state": f"CASE WHEN course_state IN ('created', 'claimed') THEN 'unpublished'"
            f" WHEN course_state = 'deleted' THEN 'deleted' WHEN n < 4 THEN 'published' ELSE"
            f" {weighted('state', {'published': 92, 'unpublished': 5, 'deleted': 3})} END",
            "created_at": f"least({later('born', roll('made', 3600))}, {world.now_sql})",
            "unlock_at": maybe("unlock", 300, later("due_at", "-86400 * 14")),
            "lock_at": maybe("lock", 250, later("due_at", "86400 * 7")),
            "title": one_of("title", words().titles),
            "all_day": "false",
            "all_day_date": maybe("all day", 100, "CAST(due_at AS DATE)"),
            "peer_reviews": chance("peers", 40),
            "peer_review_count": "CASE WHEN peer_reviews THEN 2 ELSE 0 END",
            "peer_reviews_due_at": "CASE WHEN peer_reviews"
            f" THEN {later('due_at', '86400 * 5')} END",
            "submissions_downloads": maybe("downloads", 100, between("times", 1, 4), "0"),
            "group_category_id": f"CASE WHEN context_id % 2 = 0 AND {chance('group', 80)}"
            " THEN context_id * 2 END",
            "allowed_attempts": maybe("attempts", 150, between("allowed", 1, 3), "-1"),
            "allowed_extensions": "CASE WHEN kind = 'online_upload'"
            f" AND {chance('extensions', 300)} THEN 'pdf,docx,txt' END",
            "moderated_grading": "false",
            "turnitin_enabled": "false",
            "vericite_enabled": "false",
            "anonymous_grading": chance("anonymous", 30),
            "grader_count": "0",
            "type": "'Assignment'",
            "has_sub_assignments": "false",
            "sis_source_id": maybe("sis", 50, "concat('SIS-X-', id)"),
            "duplicate_of_id": "CASE WHEN n = 5 AND context_id % 9 = 0 THEN id - 4 END",
        },
    )


def _overrides(world: World) -> Recipe:
    return Recipe(
        "canvas.assignment_overrides",
        f"""
        SELECT a.id * 4 AS id, a.id AS assignment_id, a.due_at AS usual, a.created_at,
            s.id AS set_id, 'CourseSection' AS set_type, s.name AS title
        FROM canvas.assignments a JOIN canvas.course_sections s ON s.id = a.context_id * 2 + 1
        WHERE {world.draw("override", "a.id", 3)} = 0
        UNION ALL
        SELECT a.id * 4 + 1, a.id, a.due_at, a.created_at, NULL, 'ADHOC', '2 students'
        FROM canvas.assignments a WHERE {world.draw("single students", "a.id", 25)} = 0
        """,
        {
            "workflow_state": "'active'",
            "due_at": later("usual", f"86400 * {between('days', 1, 6)}"),
            "due_at_overridden": "true",
            "unlock_at_overridden": "false",
            "unlock_at": "NULL",
            "lock_at_overridden": "false",
            "lock_at": "NULL",
            "all_day": "false",
            "all_day_date": "CAST(due_at AS DATE)",
            "assignment_version": "1",
        },
    )


def _override_students() -> Recipe:
    return Recipe(
        "canvas.assignment_override_students",
        """
        SELECT o.id * 4 + n AS id, o.id AS assignment_override_id, o.assignment_id,
            greatest(o.created_at, e.created_at) AS created_at, e.user_id
        FROM canvas.assignment_overrides o CROSS JOIN range(2) t(n)
        JOIN canvas.enrollments e ON e.id = o.assignment_id // 32 * 256 + 1 + n * 5
        WHERE o.set_id IS NULL
        """,
        {"workflow_state": "'active'"},
    )


def _late_policies(world: World) -> Recipe:
    return Recipe(
        "canvas.late_policies",
        f"""
        SELECT c.id, c.id AS course_id, c.created_at FROM canvas.courses c
        WHERE {world.draw("late policy", "c.id", 10)} < 7
        """,
        {
            "late_submission_deduction_enabled": chance("late", 800),
            "late_submission_deduction": f"{between('percent', 1, 4)} * 2.5",
            "late_submission_interval": one_of("interval", ("day", "hour")),
            "missing_submission_deduction_enabled": chance("missing", 400),
            "missing_submission_deduction": "100.00",
            "late_submission_minimum_percent_enabled": chance("minimum", 300),
            "late_submission_minimum_percent": f"{between('least', 0, 5)} * 10.0",
        },
    )


def _post_policies(world: World) -> Recipe:
    return Recipe(
        "canvas.post_policies",
        f"""
        SELECT id * 32 + 31 AS id, id AS course_id, NULL AS assignment_id, created_at
            FROM canvas.courses
        UNION ALL
        SELECT id, context_id, id, created_at FROM canvas.assignments
        WHERE {world.draw("post policy", "id", 6)} = 0
        """,
        {"post_manually": chance("manually", 150)},
    )
