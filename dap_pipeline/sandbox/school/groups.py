"""Groups of students, and the small tables that a teacher keeps beside the gradebook."""

from __future__ import annotations

from .expressions import between, chance, hexadecimal, maybe, moment, one_of, roll
from .recipe import Recipe
from .words import words
from .world import World

GROUPS = 4


def recipes(world: World) -> list[Recipe]:
    """The tables about groups and gradebooks, parents first."""
    return [
        _categories(),
        _groups(),
        _memberships(),
        _columns(world),
        _column_data(world),
        _standards(world),
    ]


def _categories() -> Recipe:
    return Recipe(
        "canvas.group_categories",
        """
        SELECT c.id * 2 AS id, c.id AS context_id, 'Course' AS context_type, c.created_at
        FROM canvas.courses c WHERE c.id % 2 = 0
        """,
        {
            "name": one_of(
                "name", ("Project groups", "Tandems", "Gruppen", "Équipes", 'Lab "A"/"B"')
            ),
            "group_limit": between("limit", 4, 14),
            "self_signup": maybe("signup", 300, "'enabled'"),
            "auto_leader": maybe("leader", 300, one_of("auto", ("first", "random"))),
        },
    )


def _groups() -> Recipe:
    """Group g of a course holds the students of the slots g, g + 4, g + 8, and so on."""
    return Recipe(
        "canvas.groups",
        f"""
        SELECT c.id * 8 + n AS id, c.account_id, c.id AS context_id, k.id AS group_category_id,
            greatest(k.created_at, e.created_at) AS created_at, e.user_id AS leader_id, n,
            'Course' AS context_type
        FROM canvas.group_categories k JOIN canvas.courses c ON c.id = k.context_id
        CROSS JOIN range({GROUPS}) t(n) JOIN canvas.enrollments e ON e.id = c.id * 256 + n
        """,
        {
            "name": "concat('Group ', n + 1)",
            "workflow_state": "'available'",
            "uuid": hexadecimal("uuid"),
            "join_level": one_of("join", ("invitation_only", "parent_context_auto_join")),
            "is_public": "false",
        },
    )


def _memberships() -> Recipe:
    return Recipe(
        "canvas.group_memberships",
        f"""
        SELECT e.id, e.user_id, g.id AS group_id,
            greatest(g.created_at, e.created_at) AS created_at,
            e.user_id = g.leader_id AS moderator
        FROM canvas.groups g JOIN canvas.enrollments e ON e.course_id = g.context_id
            AND e.id % 256 % {GROUPS} = g.id % 8 AND e.type = 'StudentEnrollment'
        WHERE e.id % 16 < 9
        """,
        {"workflow_state": "'accepted'", "uuid": hexadecimal("uuid")},
    )


def _columns(world: World) -> Recipe:
    return Recipe(
        "canvas.custom_gradebook_columns",
        f"""
        SELECT c.id, c.id AS course_id, c.created_at, 1 AS position FROM canvas.courses c
        WHERE {world.draw("gradebook column", "c.id", 10)} < 3
        """,
        {
            "title": one_of("title", ("Notes", "Seminargruppe", "Attendance, %", "Tutor")),
            "teacher_notes": "title = 'Notes'",
            "read_only": chance("read only", 100),
            "workflow_state": maybe("hidden", 200, "'hidden'", "'active'"),
        },
    )


def _column_data(world: World) -> Recipe:
    return Recipe(
        "canvas.custom_gradebook_column_data",
        f"""
        SELECT e.id, k.id AS custom_gradebook_column_id, e.user_id, e.created_at AS born
        FROM canvas.custom_gradebook_columns k JOIN canvas.enrollments e
            ON e.course_id = k.course_id
        WHERE e.type = 'StudentEnrollment' AND {world.draw("gradebook note", "e.id", 3)} = 0
        """,
        {"content": one_of("content", words().tricky_texts)},
    )


def _standards(world: World) -> Recipe:
    return Recipe(
        "canvas.grading_standards",
        """
        SELECT 1 + i AS id, 1 + i % 6 AS context_id, 'Account' AS context_type,
            ['Letters', '1,0 to 5,0', 'Pass/Fail', 'ECTS'][1 + i % 4] AS title,
            concat('account_', 1 + i % 6) AS context_code, 1001 AS user_id, 2 AS version
        FROM range(8) t(i)
        """,
        {
            "created_at": moment("made", world.newest_from, world.now_sql),
            "workflow_state": "'active'",
            "bound": f"0.7 + {roll('bound', 10)} / 100.0",
            "data": """concat('[["A",0.9],["B",', bound, '],["F",0.0]]')""",
        },
    )
