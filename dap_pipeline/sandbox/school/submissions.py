"""What students hand in, how it is graded, and what belongs to it.

Every enrolled student has one submission for each published assignment of the course, as in
Canvas: unsubmitted at first. Its id is enrolment * 32 + number of the assignment.
"""

from __future__ import annotations

from .assignments import SLOTS
from .defaults import long_text
from .enrollments import ability_of
from .expressions import (
    between,
    chance,
    later,
    maybe,
    one_of,
    roll,
    uuid,
)
from .recipe import Recipe
from .world import World

UPLOADS = 10_000_000_000  # attachment ids of submitted files start here
SUBMITTED = "s.submitted_at IS NOT NULL"


def recipes(world: World) -> list[Recipe]:
    """Submissions and the tables that hang on them."""
    return [
        _submissions(world),
        _versions(world),
        _comments(world),
        _originality_reports(world),
        _annotation_contexts(world),
        _participations(world),
        _participation_counts(world),
        _score_statistics(),
    ]


def handed_in(world: World) -> dict[str, str]:
    """Columns that say whether and when a submission was handed in, for work due by now."""
    due = "cached_due_date"
    hours = f"CASE WHEN {chance('late', 110)} THEN {roll('hours late', 72)} + 1 ELSE -1 - "
    hours += f"CAST(pow({roll('hours early', 1000)} / 1000.0, 2) * 120 AS BIGINT) END"
    lag = f"({hours}) * 3600 + {roll('seconds', 3600)}"
    wanted = f"greatest(created_at, {later(due, lag)})"
    return {
        "wanted_at": wanted,
        "submitted_at": f"CASE WHEN kind = 'not_graded' OR {chance('never', 80)}"
        f" OR wanted_at > {world.now_sql} THEN NULL ELSE wanted_at END",
    }


def graded(points: str, user_id: str) -> str:
    """A score from 0 to the points possible, in halves so that sums are exact."""
    luck = f"({roll('luck', 300)} - 150) / 1000.0::DOUBLE"
    share = f"greatest(0, least(1, {ability_of(user_id)} + {luck}))"
    return f"round({points} * {share} * 2) / 2"


def _submissions(world: World) -> Recipe:
    late = "submitted_at > cached_due_date"
    graded_at = later("submitted_at", f"3600 * {between('grading', 4, 240)}")
    return Recipe(
        "canvas.submissions",
        f"""
        SELECT e.id * {SLOTS} + a.id % {SLOTS} AS id, e.course_id, e.user_id,
            a.id AS assignment_id, a.points_possible AS points, a.submission_types[1] AS kind,
            coalesce(o.due_at, a.due_at) AS cached_due_date, t.user_id AS teacher,
            greatest(e.created_at, a.created_at) AS created_at,
            c.enrollment_term_id * 2 + CASE WHEN a.due_at < p.end_date THEN 0 ELSE 1 END
                AS grading_period_id,
            CASE WHEN a.group_category_id IS NOT NULL AND e.id % 16 < 9 THEN e.course_id * 8
                + e.id % 256 % 4 END AS group_id
        FROM canvas.enrollments e JOIN canvas.assignments a ON a.context_id = e.course_id
        JOIN canvas.courses c ON c.id = e.course_id
        JOIN canvas.grading_periods p ON p.id = c.enrollment_term_id * 2
        JOIN canvas.enrollments t ON t.id = e.course_id * 256 + 60
        LEFT JOIN canvas.assignment_overrides o ON o.id = a.id * 4
            AND o.set_id = e.course_section_id
        WHERE e.type = 'StudentEnrollment' AND a.workflow_state = 'published'
        """,
        {
            **handed_in(world),
            "attempt": "CASE WHEN submitted_at IS NOT NULL"
            f" THEN 1 + CAST({chance('again', 90)} AS INTEGER) END",
            "graded_at": f"CASE WHEN points IS NOT NULL AND {graded_at} <= {world.now_sql}"
            f" THEN {graded_at} END",
            "workflow_state": "CASE WHEN submitted_at IS NULL THEN 'unsubmitted'"
            " WHEN graded_at IS NOT NULL"
            f" THEN 'graded' WHEN kind = 'online_quiz' AND {chance('review', 200)}"
            " THEN 'pending_review'"
            " ELSE 'submitted' END",
            "submission_type": "CASE WHEN submitted_at IS NOT NULL THEN CASE kind"
            " WHEN 'external_tool' THEN 'basic_lti_launch' ELSE kind END END",
            "late": f"coalesce({late}, false)",
            "points_deducted": "CASE WHEN late AND graded_at IS NOT NULL"
            f" AND {chance('deduct', 500)}"
            " THEN round(points * 0.1, 2) ELSE NULL END",
            "student_entered_score": "NULL",
            "score": "CASE WHEN graded_at IS NOT NULL THEN greatest(0,"
            f" {graded('points', 'user_id')} - coalesce(points_deducted, 0)) END",
            "grade": "CASE WHEN score IS NOT NULL THEN format('{:g}', score) END",
            "posted_at": maybe("posted", 950, "graded_at"),
            "published_score": "CASE WHEN posted_at IS NOT NULL THEN score END",
            "published_grade": "CASE WHEN posted_at IS NOT NULL THEN grade END",
            "grader_id": "CASE WHEN graded_at IS NOT NULL THEN teacher END",
            "grade_matches_current_submission": "CASE WHEN graded_at IS NOT NULL THEN true END",
            "cached_tardiness": "CASE WHEN late THEN 'late' WHEN submitted_at IS NULL"
            " AND points IS NOT NULL"
            f" AND cached_due_date < {world.now_sql} THEN 'missing' END",
            "late_policy_status": maybe(
                "status", 20, one_of("late status", ("none", "late", "extended"))
            ),
            "excused": maybe("excused", 8, "true"),
            "seconds_late_override": "NULL",
            "extra_attempts": "NULL",
            "body": f"CASE WHEN submission_type = 'online_text_entry' THEN {long_text('body')} END",
            "url": "CASE WHEN submission_type = 'online_url' THEN"
            " concat('https://blog.example.edu/', user_id, '/', id, '?draft=false&lang=\"en\"')"
            " END",
            "attachment_id": f"CASE WHEN submission_type = 'online_upload' THEN {UPLOADS} + id END",
            "attachment_ids": "CAST(attachment_id AS VARCHAR)",
            "quiz_submission_id": "CASE WHEN submission_type = 'online_quiz' THEN id END",
            "updated_at": "coalesce(graded_at, submitted_at, created_at)",
            "processed": "CASE WHEN submitted_at IS NOT NULL THEN true END",
            "submission_comments_count": "NULL",
            "last_comment_at": "NULL",
            "turnitin_data": "NULL",
            "graded_anonymously": "CASE WHEN graded_at IS NOT NULL THEN false END",
            "anonymous_id": "left(md5(concat(id)), 5)",
            "cached_quiz_lti": "false",
            "redo_request": "false",
        },
    )


def _versions(world: World) -> Recipe:
    return Recipe(
        "canvas.submission_versions",
        f"""
        SELECT s.id * 2 + n AS id, s.user_id, s.course_id AS context_id, 'Course' AS context_type,
            s.assignment_id, s.submitted_at AS born
        FROM canvas.submissions s CROSS JOIN range(2) t(n)
        WHERE {SUBMITTED} AND n < s.attempt AND {world.draw("version", "s.id", 10)} < 6
        """,
    )


def _comments(world: World) -> Recipe:
    return Recipe(
        "canvas.submission_comments",
        f"""
        SELECT s.id * 4 + n AS id, s.id AS submission_id, s.course_id AS context_id,
            'Course' AS context_type,
            CASE n WHEN 1 THEN s.user_id ELSE s.grader_id END AS author_id, s.attempt,
            s.graded_at AS born, u.name AS author_name, n
        FROM canvas.submissions s CROSS JOIN range(2) t(n)
        JOIN canvas.users u ON u.id = CASE n WHEN 1 THEN s.user_id ELSE s.grader_id END
        WHERE s.graded_at IS NOT NULL AND s.meta_action = 'U'
            AND {world.draw("comment", "s.id", 100)} < CASE n WHEN 0 THEN 14 ELSE 4 END
        """,
        {
            "created_at": f"least({later('born', '600 * n + ' + roll('after', 3600))},"
            f" {world.now_sql})",
            "comment": long_text("comment"),
            "hidden": chance("hidden", 20),
            "draft": chance("draft", 15),
            "teacher_only_comment": "false",
            "anonymous": "false",
            "attachment_ids": "''",
            "edited_at": "NULL",
        },
    )


def _originality_reports(world: World) -> Recipe:
    return Recipe(
        "canvas.originality_reports",
        f"""
        SELECT s.id, s.id AS submission_id, s.attachment_id, s.submitted_at AS submission_time,
            s.submitted_at
        FROM canvas.submissions s
        WHERE s.submission_type = 'online_upload'
            AND {world.draw("originality", "s.id", 100)} < 12
        """,
        {
            "created_at": f"least({later('submitted_at', roll('after', 1800))}, {world.now_sql})",
            "originality_score": maybe("scored", 950, f"{roll('score', 1000)} / 10.0"),
            "error_message": "CASE WHEN originality_score IS NULL"
            " THEN 'File could not be read: \"pages\" missing' END",
        },
    )


def _annotation_contexts(world: World) -> Recipe:
    return Recipe(
        "canvas.canvadocs_annotation_contexts",
        f"""
        SELECT s.id, s.id AS submission_id, s.attachment_id, s.attempt AS submission_attempt,
            s.submitted_at AS created_at
        FROM canvas.submissions s
        WHERE s.submission_type = 'online_upload' AND {world.draw("annotation", "s.id", 100)} < 10
        """,
        {"launch_id": uuid("launch")},
    )


def _participations(world: World) -> Recipe:
    return Recipe(
        "canvas.content_participations",
        f"""
        SELECT s.id, s.id AS content_id, 'Submission' AS content_type, s.user_id,
            s.graded_at AS born
        FROM canvas.submissions s
        WHERE s.graded_at IS NOT NULL AND {world.draw("participation", "s.id", 10)} < 3
        """,
        {"workflow_state": one_of("state", ("read", "unread"))},
    )


def _participation_counts(world: World) -> Recipe:
    return Recipe(
        "canvas.content_participation_counts",
        f"""
        SELECT e.id, e.user_id, e.course_id AS context_id, 'Course' AS context_type, e.created_at
        FROM canvas.enrollments e
        WHERE e.type = 'StudentEnrollment' AND {world.draw("counts", "e.id", 10)} < 4
        """,
        {
            "content_type": "'Submission'",
            "unread_count": maybe("unread", 300, between("n", 1, 7), "0"),
        },
    )


def _score_statistics() -> Recipe:
    return Recipe(
        "canvas.score_statistics",
        """
        SELECT assignment_id AS id, assignment_id, count(*) AS count,
            round(avg(score), 4) AS mean, min(score) AS minimum, max(score) AS maximum,
            max(graded_at) AS created_at
        FROM canvas.submissions WHERE score IS NOT NULL GROUP BY assignment_id
        """,
        {"updated_at": "created_at"},
    )
