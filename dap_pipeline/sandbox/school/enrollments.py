"""Who takes part in which course, in what state, and with what grade.

A course has room for 256 enrolments: slots 0 to 59 for students, 60 to 69 for staff (60 is the
teacher), the rest for students who come later. The id is course * 256 + slot.
"""

from __future__ import annotations

from .courses import CANARY_COURSES, FIRST_COURSE
from .expressions import later, listed, maybe, moment, roll, weighted
from .people import CANARY, FIRST_STAFF, FIRST_STUDENT
from .recipe import Recipe
from .world import LARGEST_CLASS, TERMS_SHOWN, World

COURSES_PER_NEWCOMER = 4
SMALLEST_CLASS = 12
_TYPES = (
    "StudentEnrollment",
    "TeacherEnrollment",
    "TaEnrollment",
    "DesignerEnrollment",
    "ObserverEnrollment",
)


def recipes(world: World) -> list[Recipe]:
    """The tables about enrolments, parents first."""
    return [_enrollments(world), _enrollment_states(world), _scores(world)]


def _enrollments(world: World) -> Recipe:
    now = world.now_sql
    enrolled = f"-86400 * 14 + {roll('enrolled', 86400 * 16)}"
    first_term = world.terms[0].id
    leaving, together = world.students_leaving, world.students_per_term
    canary_first = FIRST_COURSE + world.busy_term.courses.start
    busy = max(1, len(world.busy_term.courses))
    students = f"{SMALLEST_CLASS} + {world.draw('class', 'id', LARGEST_CLASS - SMALLEST_CLASS + 1)}"
    cohort = f"least(enrollment_term_id - {first_term}, {TERMS_SHOWN - 1}) * {leaving}"
    return Recipe(
        "canvas.enrollments",
        f"""
        WITH plan AS (
            SELECT *, {students} AS students,
                {world.draw("cohort", "id", together)} AS offset_in_term,
                {world.draw("staff", "id", world.staff)} AS teacher
            FROM canvas.courses
        ), seats AS (
            SELECT id AS course_id, slot, CASE
                WHEN slot = 0
                    AND id BETWEEN {canary_first} AND {canary_first + CANARY_COURSES - 1}
                    THEN {CANARY.user_id}
                WHEN slot < 60
                    THEN {FIRST_STUDENT} + {cohort} + (offset_in_term + slot) % {together}
                ELSE {FIRST_STAFF} + (teacher + slot - 60) % {world.staff} END AS user_id
            FROM plan CROSS JOIN range(65) s(slot)
            WHERE slot < students OR slot = 60 OR slot > 60 AND (id * 7 + slot * 3) % 10 = 0
            UNION ALL
            SELECT {canary_first} + place % {busy}, 70 + place // {busy}, user_id
            FROM (
                SELECT u.id AS user_id,
                    (u.id - {FIRST_STUDENT + world.base_students}) * {COURSES_PER_NEWCOMER}
                        + n AS place
                FROM canvas.users u CROSS JOIN range({COURSES_PER_NEWCOMER}) t(n)
                WHERE u.id >= {FIRST_STUDENT + world.base_students} AND n < {busy}
            ) WHERE place // {busy} < 186
        )
        SELECT e.course_id * 256 + e.slot AS id, e.course_id, e.user_id, e.slot,
            c.start_at AS starts, c.conclude_at AS ends, c.workflow_state AS course_state,
            greatest(u.created_at, c.created_at) AS earliest, w.user_id AS watched,
            u.workflow_state AS user_state, e.user_id * 2 AS sis_pseudonym_id,
            s.id AS course_section_id
        FROM seats e
        JOIN canvas.courses c ON c.id = e.course_id
        JOIN canvas.users u ON u.id = e.user_id
        LEFT JOIN seats w ON e.slot = 64 AND w.course_id = e.course_id AND w.slot = 1
        LEFT JOIN canvas.course_sections o ON o.id = c.id * 2 + 1
        JOIN canvas.course_sections s ON s.course_id = c.id
            AND s.id % 2 = CASE WHEN o.id IS NULL THEN 0 ELSE e.slot % 2 END
        """,
        {
            "kind": "CASE WHEN slot BETWEEN 60 AND 64 THEN [2, 2, 3, 4, 5][slot - 59] ELSE 1 END",
            "type": f"{listed(_TYPES)}[kind]",
            "role_id": "kind",
            "wanted": f"greatest(earliest, {later('starts', enrolled)})",
            "created_at": f"CASE WHEN wanted < {now} THEN wanted ELSE"
            f" {moment('early', 'earliest', now)} END",
            "workflow_state": "CASE WHEN 'deleted' IN (course_state, user_state) THEN 'deleted'"
            " WHEN course_state = 'completed' THEN 'completed'"
            f" WHEN slot = 60 OR user_id = {CANARY.user_id} THEN 'active' ELSE"
            f" {weighted('state', {'active': 94, 'invited': 3, 'inactive': 1, 'deleted': 2})} END",
            "started": f"starts < {now} AND workflow_state IN ('active', 'completed')",
            "from_then": "greatest(created_at, starts)",
            "until_then": f"greatest(from_then, least(ends, {now}))",
            "last_activity_at": "CASE WHEN started"
            f" THEN {moment('seen', 'from_then', 'until_then')} END",
            "total_activity_time": f"CASE WHEN started THEN {roll('time', 200_000)} END",
            "completed_at": "CASE WHEN workflow_state = 'completed' THEN ends END",
            "updated_at": "greatest(created_at, coalesce(completed_at, last_activity_at,"
            " created_at))",
            "start_at": "NULL",
            "end_at": "NULL",
            "grade_publishing_status": "'unpublished'",
            "limit_privileges_to_course_section": "slot = 62",
            "associated_user_id": "watched",
            "last_attended_at": maybe("attended", 100, "last_activity_at"),
        },
    )


def _enrollment_states(world: World) -> Recipe:
    return Recipe(
        "canvas.enrollment_states",
        """
        SELECT e.id AS enrollment_id, e.workflow_state AS enrolment,
            e.created_at AS state_started_at, e.updated_at, c.start_at AS starts,
            c.conclude_at AS state_valid_until
        FROM canvas.enrollments e JOIN canvas.courses c ON c.id = e.course_id
        """,
        {
            "state": "CASE WHEN enrolment = 'invited' THEN 'pending_invited'"
            f" WHEN enrolment = 'active' AND starts > {world.now_sql} THEN 'pending_active'"
            " ELSE enrolment END",
            "state_is_current": "true",
            "restricted_access": "false",
            "access_is_current": "true",
        },
    )


def _scores(world: World) -> Recipe:
    ability = ability_of("user_id")
    return Recipe(
        "canvas.scores",
        f"""
        SELECT e.id * 4 + n AS id, e.id AS enrollment_id, e.user_id, n = 0 AS course_score,
            e.created_at,
            CASE WHEN n = 0 THEN NULL ELSE e.course_id * 4 + n - 1 END AS assignment_group_id,
            CASE WHEN n = 0 AND e.id % 5 = 0 THEN c.enrollment_term_id * 2 END AS grading_period_id,
            CASE WHEN e.workflow_state = 'deleted' THEN 'deleted' ELSE 'active' END
                AS workflow_state, c.start_at < {world.now_sql} AS started
        FROM canvas.enrollments e JOIN canvas.courses c ON c.id = e.course_id
        CROSS JOIN range(3) t(n)
        WHERE e.type = 'StudentEnrollment'
        """,
        {
            "share": f"least(1, {ability} + {roll('luck', 100)} / 1000.0)",
            "current_score": "CASE WHEN started THEN round(100 * share, 2) END",
            "final_score": f"round(current_score * (1 - {roll('missing', 30)} / 100.0), 2)",
            "unposted_current_score": "current_score",
            "unposted_final_score": "final_score",
            "current_points": "round(current_score * 1.5, 1)",
            "unposted_current_points": "current_points",
            "final_points": "round(final_score * 1.5, 1)",
            "unposted_final_points": "final_points",
            "override_score": maybe("override", 10, "current_score"),
        },
    )


def ability_of(user_id: str) -> str:
    """How well a student does, from 0.45 to 0.95; it shows in every score."""
    return f"(0.45::DOUBLE + ({user_id} * 7919) % 1000 / 2000.0::DOUBLE)"
