"""Quizzes, their questions and the attempts; a quiz with grades stands beside its assignment."""

from __future__ import annotations

from .expressions import between, later, maybe, one_of, roll, weighted
from .recipe import Recipe
from .words import words
from .world import World

PRACTICE_SLOT = 30


def recipes(world: World) -> list[Recipe]:
    """The tables about quizzes, parents first."""
    return [
        _banks(world),
        _bank_questions(world),
        _quizzes(world),
        _groups(world),
        _questions(),
        _submissions(),
    ]


def _banks(world: World) -> Recipe:
    return Recipe(
        "canvas.assessment_question_banks",
        f"""
        SELECT c.id * 4 AS id, c.id AS context_id, 'Course' AS context_type, c.created_at
            FROM canvas.courses c
        WHERE {world.draw("bank", "c.id", 10)} < 8
        UNION ALL SELECT a.id, a.id, 'Account', a.created_at FROM canvas.accounts a WHERE a.id < 7
        """,
        {
            "title": "CASE WHEN context_type = 'Account' THEN 'Shared bank'"
            f" ELSE {one_of('title', words().titles)} END"
        },
    )


def _bank_questions(world: World) -> Recipe:
    return Recipe(
        "canvas.assessment_questions",
        f"""
        SELECT b.id * 16 + n AS id, b.id AS assessment_question_bank_id, b.created_at,
            n + 1 AS position, b.id AS context_id, 'AssessmentQuestionBank' AS context_type
        FROM canvas.assessment_question_banks b CROSS JOIN range(12) t(n)
        WHERE n < 4 OR {world.draw("bank question", "b.id * 16 + n", 2)} = 0
        """,
    )


def _quizzes(world: World) -> Recipe:
    return Recipe(
        "canvas.quizzes",
        f"""
        SELECT a.id, a.id AS assignment_id, a.context_id, 'Course' AS context_type, a.title,
            a.due_at, a.unlock_at, a.lock_at, a.points_possible, a.assignment_group_id,
            a.created_at, 'assignment' AS quiz_type, a.workflow_state AS state
        FROM canvas.assignments a WHERE a.submission_types[1] = 'online_quiz'
        UNION ALL
        SELECT c.id * 32 + {PRACTICE_SLOT}, NULL, c.id, 'Course', 'Practice: "try it"', NULL,
            NULL, NULL, 10.0, NULL, c.created_at, ['practice_quiz', 'survey'][1 + c.id % 2],
            'published'
        FROM canvas.courses c WHERE {world.draw("practice", "c.id", 3)} = 0
        """,
        {
            "workflow_state": "CASE state WHEN 'published' THEN 'available' ELSE state END",
            "updated_at": f"least({later('created_at', roll('changed', 86400 * 20))},"
            f" {world.now_sql})",
            "deleted_at": "CASE WHEN state = 'deleted' THEN updated_at END",
            "published_at": "CASE WHEN state = 'published' THEN updated_at END",
            "time_limit": maybe("limit", 500, one_of("minutes", (10, 20, 45, 60, 90))),
            "allowed_attempts": one_of("attempts", (1, 1, 1, 2, -1)),
            "scoring_policy": weighted(
                "policy", {"keep_highest": 8, "keep_latest": 1, "keep_average": 1}
            ),
            "question_count": "8",
            "unpublished_question_count": "8",
            "access_code": maybe("code", 40, "'open, \"sesame\"'"),
            "require_lockdown_browser": "false",
            "require_lockdown_browser_for_results": "false",
            "require_lockdown_browser_monitor": "false",
            "hide_results": maybe("hide", 60, "'always'"),
        },
    )


def _groups(world: World) -> Recipe:
    return Recipe(
        "canvas.quiz_groups",
        f"""
        SELECT q.id, q.id AS quiz_id, b.id AS assessment_question_bank_id, q.created_at,
            1 AS position
        FROM canvas.quizzes q LEFT JOIN canvas.assessment_question_banks b
            ON b.id = q.context_id * 4
        WHERE {world.draw("quiz group", "q.id", 3)} = 0
        """,
        {"pick_count": between("pick", 1, 3), "question_points": one_of("points", (1, 2, 5))},
    )


def _questions() -> Recipe:
    return Recipe(
        "canvas.quiz_questions",
        """
        SELECT q.id * 16 + n AS id, q.id AS quiz_id, q.created_at, n + 1 AS position,
            CASE WHEN n > 5 THEN g.id END AS quiz_group_id, b.id AS assessment_question_id
        FROM canvas.quizzes q CROSS JOIN range(8) t(n)
        LEFT JOIN canvas.quiz_groups g ON g.id = q.id
        LEFT JOIN canvas.assessment_questions b ON b.id = q.context_id * 64 + n
        """,
        {"assessment_question_version": "CASE WHEN assessment_question_id IS NOT NULL THEN 1 END"},
    )


def _submissions() -> Recipe:
    minutes = f"-60 * {between('minutes', 3, 55)}"
    return Recipe(
        "canvas.quiz_submissions",
        """
        SELECT s.id, s.id AS submission_id, s.user_id, s.assignment_id AS quiz_id, s.attempt,
            s.score, s.submitted_at AS finished_at, s.updated_at, s.workflow_state AS state,
            a.points_possible AS quiz_points_possible
        FROM canvas.submissions s JOIN canvas.assignments a ON a.id = s.assignment_id
        WHERE s.submission_type = 'online_quiz'
        """,
        {
            "started_at": later("finished_at", minutes),
            "created_at": "started_at",
            "end_at": later("started_at", "3600"),
            "workflow_state": "CASE WHEN state = 'pending_review' THEN state ELSE 'complete' END",
            "kept_score": "score",
            "fudge_points": maybe("fudge", 20, "0.5", "0"),
            "quiz_version": "1",
            "score_before_regrade": "NULL",
            "extra_attempts": "NULL",
            "extra_time": maybe("extra time", 30, "15"),
            "was_preview": "false",
            "has_seen_results": "state = 'graded'",
        },
    )
