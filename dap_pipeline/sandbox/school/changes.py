"""What changes in rows that are there: grades come in, people log in, things are deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .catalogue import shipped_tables
from .enrollments import ability_of
from .people import CANARY, FIRST_STUDENT
from .submissions import UPLOADS
from .world import World


@dataclass(frozen=True)
class Change:
    """An UPDATE of so many of a thousand live rows for which `where` holds.

    `source` may join one more table, whose columns `values` and `where` then know too.
    """

    table: str
    per_mille: int
    values: Mapping[str, str]
    where: str = "true"
    source: str = ""

    def statement(self, world: World, number: int) -> str:
        """The SQL; `number` tells apart the draws of different changes to one table."""
        table = shipped_tables()[self.table]
        values = {**self.values, "meta_ts": world.now_sql}
        if table.column("updated_at") is not None:
            values["updated_at"] = world.now_sql
        assigned = ", ".join(f"{name} = {value}" for name, value in values.items())
        joined = f" FROM {self.source}" if self.source else ""
        drawn = world.draw(f"{world.step} change {number}", f"r.{table.key.name}", 1000)
        return (
            f"UPDATE {table.sql_name} r SET {assigned}{joined}"
            f" WHERE r.meta_action = 'U' AND ({self.where}) AND {drawn} < {self.per_mille}"
        )


def changes(world: World) -> list[Change]:
    """Everything that changes in a step, in this order."""
    now = world.now_sql
    return [*_people(now), *_work(world), *_following_work(now), *_reading(now), *_shop(now)]


def _people(now: str) -> list[Change]:
    student = f"r.id >= {FIRST_STUDENT}"
    return [
        Change("canvas.users", 15, {"last_logged_out": now}),
        Change("canvas.users", 4, {"short_name": "'(' || name || ')'"}, student),
        Change(
            "canvas.users",
            2,
            {"workflow_state": "'deleted'", "deleted_at": now},
            f"{student} AND r.workflow_state <> 'deleted'",
        ),
        *(
            Change(
                table,
                1000,
                {"workflow_state": "'deleted'"},
                f"u.id = r.user_id AND u.workflow_state = 'deleted' AND u.meta_ts = {now}",
                "canvas.users u",
            )
            for table in ("canvas.pseudonyms", "canvas.enrollments")
        ),
        Change(
            "canvas.pseudonyms",
            80,
            {
                "login_count": "login_count + 1",
                "last_login_at": "current_login_at",
                "last_login_ip": "current_login_ip",
                "current_login_at": now,
                "last_request_at": now,
            },
            "r.workflow_state = 'active' AND current_login_ip IS NOT NULL",
        ),
        Change(
            "canvas.enrollments", 400, {"workflow_state": "'active'"}, "workflow_state = 'invited'"
        ),
        Change(
            "canvas.enrollments",
            60,
            {"last_activity_at": now, "total_activity_time": "total_activity_time + 600"},
            "workflow_state = 'active' AND last_activity_at IS NOT NULL",
        ),
        Change(
            "canvas.enrollment_states",
            1000,
            {"state": "'active'"},
            "r.state = 'pending_invited' AND e.id = r.enrollment_id"
            " AND e.workflow_state = 'active'",
            "canvas.enrollments e",
        ),
        Change(
            "canvas.courses", 20, {"public_description": "'Now with a reading list, \"updated\".'"}
        ),
    ]


def _work(world: World) -> list[Change]:
    now = world.now_sql
    kind = "a.submission_types[1]"
    score = f"round(points_possible * least(1, {ability_of('r.user_id')} + 0.1::DOUBLE) * 2) / 2"
    return [
        Change(
            "canvas.submissions",
            120,
            {
                "workflow_state": "'graded'",
                "graded_at": now,
                "posted_at": now,
                "score": score,
                "published_score": score,
                "grade": f"format('{{:g}}', {score})",
                "published_grade": f"format('{{:g}}', {score})",
                "grader_id": "a.teacher",
                "graded_anonymously": "false",
                "grade_matches_current_submission": "true",
            },
            "r.workflow_state IN ('submitted', 'pending_review') AND a.id = r.assignment_id"
            " AND a.points_possible IS NOT NULL",
            "(SELECT a.id, a.points_possible, t.user_id AS teacher FROM canvas.assignments a"
            " JOIN canvas.enrollments t ON t.id = a.context_id * 256 + 60) a",
        ),
        Change(
            "canvas.submissions",
            60,
            {
                "workflow_state": "'submitted'",
                "submitted_at": f"{now} - to_seconds(60 + r.id % 600)",
                "attempt": "1",
                "processed": "true",
                "submission_type": f"CASE {kind} WHEN 'external_tool' THEN 'basic_lti_launch'"
                f" ELSE {kind} END",
                "body": f"CASE {kind} WHEN 'online_text_entry'"
                " THEN 'Handed in at last.\n\tSorry!' END",
                "url": f"CASE {kind} WHEN 'online_url' THEN 'https://blog.example.edu/new' END",
                "attachment_id": f"CASE {kind} WHEN 'online_upload' THEN {UPLOADS} + r.id END",
                "attachment_ids": f"CASE {kind} WHEN 'online_upload'"
                f" THEN CAST({UPLOADS} + r.id AS VARCHAR) END",
                "quiz_submission_id": f"CASE {kind} WHEN 'online_quiz' THEN r.id END",
                "cached_tardiness": f"CASE WHEN cached_due_date < {now} - to_seconds(60 + r.id %"
                " 600) THEN 'late' END",
            },
            "r.workflow_state = 'unsubmitted' AND a.id = r.assignment_id"
            " AND a.points_possible IS NOT NULL"
            f" AND r.created_at < {now} - to_hours(1)"
            f" AND cached_due_date BETWEEN {now} - to_days(20) AND {now} + to_days(10)",
            "canvas.assignments a",
        ),
    ]


def _following_work(now: str) -> list[Change]:
    """What must agree with the submissions that have just been graded."""
    graded = f"s.meta_ts = {now} AND s.graded_at = {now}"
    statistics = (
        "(SELECT assignment_id, count(*) AS n, round(avg(score), 4) AS mean, min(score) AS low,"
        " max(score) AS high, max(meta_ts) AS changed FROM canvas.submissions"
        " WHERE score IS NOT NULL"
        " GROUP BY assignment_id) s"
    )
    return [
        Change(
            "canvas.quiz_submissions",
            1000,
            {"score": "s.score", "kept_score": "s.score", "workflow_state": "'complete'"},
            f"s.id = r.id AND {graded}",
            "canvas.submissions s",
        ),
        Change(
            "canvas.lti_results",
            1000,
            {"result_score": "s.score", "grading_progress": "'FullyGraded'"},
            f"s.id = r.id AND {graded}",
            "canvas.submissions s",
        ),
        Change(
            "canvas.score_statistics",
            1000,
            {"count": "s.n", "mean": "s.mean", "minimum": "s.low", "maximum": "s.high"},
            f"s.assignment_id = r.assignment_id AND s.changed = {now}",
            statistics,
        ),
        Change(
            "canvas.scores",
            40,
            {
                "current_score": "least(100, r.current_score + 0.5)",
                "unposted_current_score": "least(100, r.current_score + 0.5)",
            },
            "r.current_score IS NOT NULL",
        ),
    ]


def _reading(now: str) -> list[Change]:
    return [
        Change("canvas.assignments", 8, {"description": "'<p>Read \"chapter 4\", too.</p>'"}),
        Change("canvas.wiki_pages", 20, {"body": "'revised\\n'", "revised_at": now}),
        Change("canvas.discussion_topics", 20, {"last_reply_at": now}, "assignment_id IS NOT NULL"),
        Change(
            "canvas.discussion_entries",
            3,
            {"workflow_state": "'deleted'", "deleted_at": now},
            "r.workflow_state = 'active'",
        ),
        Change(
            "canvas.content_participations",
            60,
            {"workflow_state": "'read'"},
            "workflow_state = 'unread'",
        ),
        Change(
            "canvas.conversation_participants",
            60,
            {"workflow_state": "'read'"},
            "workflow_state = 'unread'",
        ),
        Change(
            "canvas.context_module_progressions",
            30,
            {"workflow_state": "'completed'", "completed_at": now, "evaluated_at": now},
            "r.workflow_state = 'started'",
        ),
        Change(
            "canvas.communication_channels",
            10,
            {"bounce_count": "bounce_count + 1"},
            f"user_id <> {CANARY.user_id}",
        ),
    ]


def _shop(now: str) -> list[Change]:
    return [
        Change("catalog.payments", 400, {"status": "'paid'"}, "status = 'pending'"),
        Change("catalog.products", 40, {"list_order": "coalesce(list_order, 0) + 1"}),
        Change(
            "catalog.enrollments",
            60,
            {"status": "'concluded'", "requirements_completed_at": now},
            "status = 'active'",
        ),
        Change("catalog.carts", 30, {"deleted_at": now}, "order_id IS NULL AND deleted_at IS NULL"),
    ]
