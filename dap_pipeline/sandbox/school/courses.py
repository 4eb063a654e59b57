"""Accounts, terms, courses, sections and enrolments: the skeleton that all else hangs on.

A course has room for 256 enrolments: slots 0 to 59 for students, 60 to 69 for staff, the rest
for students who come later. Enrolment ids follow from course and slot.
"""

from __future__ import annotations

from .expressions import (
    between,
    chance,
    instant,
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

FIRST_COURSE = 101
CANARY_COURSES = 5
COURSES_PER_NEWCOMER = 4
SMALLEST_CLASS = 12


def recipes(world: World) -> list[Recipe]:
    """The tables of the skeleton, parents first."""
    return [
        _accounts(world),
        _roles(world),
        _role_overrides(),
        *_terms(world),
        _courses(world),
        _sections(world),
        _course_account_associations(),
    ]


def _accounts(world: World) -> Recipe:
    return Recipe(
        "canvas.accounts",
        """
        SELECT 1 + i AS id,
            CASE WHEN i = 0 THEN NULL WHEN i < 6 THEN 1 ELSE 2 + i % 5 END AS parent_account_id
        FROM range(20) t(i)
        """,
        {
            "name": "CASE WHEN id = 1 THEN 'University of Example' WHEN id < 7 THEN"
            f" concat('Faculty of ', {one_of('faculty', words().subjects)})"
            f" ELSE concat('Department of ', {one_of('department', words().subjects)}) END",
            "created_at": later(instant(world.began), roll("made", 86400)),
            "workflow_state": "CASE WHEN id = 20 THEN 'deleted' ELSE 'active' END",
            "uuid": "left(md5(concat('account ', id)) || md5(concat(id)), 40)",
            "sis_source_id": "CASE WHEN id > 1 THEN concat('SIS-A', id) END",
            "default_storage_quota": "524288000",
            "default_time_zone": "'Europe/Berlin'",
        },
    )


def _roles(world: World) -> Recipe:
    names = (
        "'StudentEnrollment', 'TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment',"
        " 'ObserverEnrollment', 'AccountAdmin', 'AccountMembership', 'Librarian', 'Tutor', 'Grader'"
    )
    return Recipe(
        "canvas.roles",
        f"""
        SELECT 1 + i AS id, [{names}][1 + i] AS name, 1 AS account_id,
            CASE WHEN i < 7 THEN [{names}][1 + i] ELSE 'TaEnrollment' END AS base_role_type,
            CASE WHEN i < 7 THEN 'built_in' WHEN i = 9 THEN 'inactive' ELSE 'active' END
                AS workflow_state
        FROM range(10) t(i)
        """,
        {"created_at": later(instant(world.began), roll("made", 86400))},
    )


def _role_overrides() -> Recipe:
    permissions = "['manage_grades', 'send_messages', 'view_all_grades', 'manage_files_add']"
    return Recipe(
        "canvas.role_overrides",
        f"""
        SELECT 1 + i AS id, 1 + i % 10 AS role_id,
            CASE WHEN i < 20 THEN 1 ELSE 1 + i % 7 END AS context_id, 'Account' AS context_type,
            {permissions}[1 + i % 4] AS permission
        FROM range(40) t(i)
        """,
    )


def _terms(world: World) -> list[Recipe]:
    rows = ", ".join(
        f"({term.id}, '{term.name}', '{term.code}', {instant(term.start)}, {instant(term.end)})"
        for term in world.terms
    )
    terms = f"(VALUES {rows}) t(id, name, code, start_at, end_at)"
    made = f"least({later('start_at', '-86400 * 58')}, {later(world.now_sql, '-3600')})"
    return [
        Recipe(
            "canvas.grading_period_groups",
            f"""
            SELECT id, 1 AS account_id, concat('Grading periods of ', name) AS title,
                {made} AS created_at FROM {terms}
            """,
            {"workflow_state": "'active'", "weighted": "id % 2 = 0"},
        ),
        Recipe(
            "canvas.grading_periods",
            f"""
            SELECT id * 2 + n AS id, id AS grading_period_group_id, n, {made} AS created_at,
                {part_way("start_at", "end_at", "n", "2")} AS start_date,
                {part_way("start_at", "end_at", "n + 1", "2")} AS end_date,
                concat(name, CASE n WHEN 0 THEN ', first half' ELSE ', second half' END) AS title
            FROM {terms} CROSS JOIN range(2) h(n)
            """,
            {
                "workflow_state": "'active'",
                "close_date": later("end_date", "86400 * 7"),
                "weight": "50.0",
            },
        ),
        Recipe(
            "canvas.enrollment_terms",
            f"""
            SELECT id, name, code AS term_code, start_at, end_at, id AS grading_period_group_id,
                concat('SIS-T-', code) AS sis_source_id, {made} AS created_at FROM {terms}
            UNION ALL SELECT 1, 'Default Term', NULL, NULL, NULL, NULL, NULL,
                {instant(world.began)}
            """,
            {"workflow_state": "'active'"},
        ),
        Recipe(
            "canvas.enrollment_dates_overrides",
            f"""
            SELECT id * 4 + n AS id, id AS enrollment_term_id, 1 AS context_id,
                'Account' AS context_type,
                ['TeacherEnrollment', 'TaEnrollment', 'StudentEnrollment', 'DesignerEnrollment']
                    [n + 1] AS enrollment_type,
                start_at - to_days(CAST(14 - n AS INTEGER)) AS start_at,
                end_at + to_days(CAST(n AS INTEGER)) AS end_at, {made} AS created_at
            FROM {terms} CROSS JOIN range(4) e(n)
            """,
        ),
    ]


def _courses(world: World) -> Recipe:
    planned = ", ".join(
        f"({term.courses.start}, {term.courses.stop}, {term.id},"
        f" {instant(term.start)}, {instant(term.end)}, false)"
        for term in world.terms
        if term.courses
    )
    added = world.term_for_new_courses
    first = max(added.start, world.now)
    planned += (
        f", ({world.base_courses}, 1e9, {added.id}, {instant(first)}, {instant(added.end)}, true)"
    )
    now = world.now_sql
    days_ago = f"-86400 * {between('days', 2, 40)}"
    seconds_ago = f"-{roll('just', 3600)}"
    canary_first = FIRST_COURSE + world.busy_term.courses.start
    return Recipe(
        "canvas.courses",
        f"""
        SELECT {FIRST_COURSE} + i AS id, t.term AS enrollment_term_id, t.starts, t.ends, t.added
        FROM range({world.courses}) c(i)
        JOIN (VALUES {planned}) t(first, stop, term, starts, ends, added) ON i >= t.first
            AND i < t.stop
        """,
        {
            "subject": one_of("subject", words().subjects),
            "level": one_of("level", words().levels),
            "name": "subject || ' ' || level",
            "course_code": "concat(upper(left(subject, 3)), '-', 100 + id % 400)",
            "start_at": "CASE WHEN added THEN starts"
            f" ELSE {later('starts', roll('start', 86400 * 10))} END",
            "conclude_at": later("ends", f"-{roll('end', 86400 * 10)}"),
            "planned": f"least({later('start_at', '-86400 * 45')}, {later(now, days_ago)})",
            "created_at": f"CASE WHEN added THEN {later(now, seconds_ago)} ELSE planned END",
            "workflow_state": f"CASE WHEN id BETWEEN {canary_first}"
            f" AND {canary_first + CANARY_COURSES - 1}"
            f" OR added THEN 'available' WHEN ends < {world.now_sql} THEN"
            f" {weighted('past', {'completed': 90, 'available': 8, 'deleted': 2})}"
            f" WHEN starts < {world.now_sql} THEN"
            f" {weighted('present', {'available': 94, 'claimed': 4, 'deleted': 2})}"
            f" ELSE {weighted('future', {'available': 30, 'claimed': 50, 'created': 20})} END",
            "account_id": "7 + id % 13",
            "wiki_id": "id",
            "template_course_id": "NULL",
            "grading_standard_id": maybe("standard", 250, between("which", 1, 8)),
            "sis_source_id": "concat('SIS-C-', id)",
            "uuid": "left(md5(concat('course ', id, r1)) || md5(concat(r2)), 40)",
            "default_view": one_of("view", ("modules", "wiki", "feed", "syllabus", "assignments")),
            "group_weighting_scheme": one_of("weighting", ("percent", "equal")),
            "license": one_of("license", ("private", "cc_by", "cc_by_sa", "public_domain")),
            "is_public": chance("public", 30),
            "template": "false",
            "homeroom_course": "false",
            "sync_enrollments_from_homeroom": "false",
            "grade_passback_setting": maybe("passback", 60, "'nightly_sync'"),
            "self_enrollment_code": maybe("code", 60, "upper(left(md5(concat(r1)), 6))"),
            "storage_quota": "524288000",
        },
    )


def _sections(world: World) -> Recipe:
    return Recipe(
        "canvas.course_sections",
        f"""
        SELECT c.id * 2 + n AS id, c.id AS course_id, c.created_at,
            c.name || concat(', section ', n + 1) AS name,
            concat('SIS-S-', c.id, '-', n) AS sis_source_id, n = 0 AS default_section,
            c.enrollment_term_id,
            CASE WHEN c.workflow_state = 'deleted' THEN 'deleted' ELSE 'active' END
                AS workflow_state
        FROM canvas.courses c CROSS JOIN range(2) s(n)
        WHERE n = 0 OR {world.draw("two sections", "c.id", 3)} = 0
        """,
        {"start_at": "NULL", "end_at": "NULL", "nonxlist_course_id": "NULL"},
    )


def _course_account_associations() -> Recipe:
    return Recipe(
        "canvas.course_account_associations",
        """
        SELECT s.id * 4 + a.n AS id, s.course_id, s.id AS course_section_id, a.n AS depth,
            CASE a.n WHEN 0 THEN c.account_id WHEN 1 THEN d.parent_account_id ELSE 1 END
                AS account_id, s.created_at
        FROM canvas.course_sections s JOIN canvas.courses c ON c.id = s.course_id
        JOIN canvas.accounts d ON d.id = c.account_id CROSS JOIN range(3) a(n)
        """,
    )
