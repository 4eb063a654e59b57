"""External tools (LTI), developer keys, and blueprint courses that copy themselves to others."""

from __future__ import annotations

from .expressions import (
    between,
    chance,
    hexadecimal,
    instant,
    later,
    listed,
    maybe,
    roll,
    uuid,
)
from .people import FIRST_STAFF
from .recipe import Recipe
from .world import World

BLUEPRINT_EVERY = 12
_TOOL_NAMES = (
    "Video library",
    "Code grader",
    "Lab booking",
    "Exam proctor",
    'Glossary "G"',
    "Map, atlas",
)


def recipes(world: World) -> list[Recipe]:
    """The tables about tools and blueprints, parents first."""
    return [
        *_developer_keys(world),
        _external_tools(world),
        _resource_links(),
        _line_items(),
        _results(),
        *_blueprints(world),
    ]


def _developer_keys(world: World) -> list[Recipe]:
    return [
        Recipe(
            "canvas.developer_keys",
            f"""
            SELECT 1 + i AS id, 1 AS account_id, {FIRST_STAFF} + i % 3 AS user_id,
                i >= 8 AS is_lti_key,
                ['Student app', 'Teacher app', 'Reporting "R"', 'Calendar', 'Plagiarism check',
                    'Portfolio'][1 + i % 6] AS name,
                {instant(world.began)} AS began
            FROM range(12) t(i)
            """,
            {
                "created_at": later("began", roll("made", 86400 * 30)),
                "workflow_state": "CASE WHEN id = 12 THEN 'deleted' WHEN id = 7 THEN 'inactive'"
                " ELSE 'active' END",
                "email": "'keys@example.edu'",
                "access_token_count": between("tokens", 0, 40),
                "user_name": "'Key keeper'",
            },
        ),
        Recipe(
            "canvas.developer_key_account_bindings",
            """
            SELECT k.id * 4 + n AS id, k.id AS developer_key_id, 1 + n AS account_id, k.created_at
            FROM canvas.developer_keys k CROSS JOIN range(2) t(n) WHERE n = 0 OR k.id % 3 = 0
            """,
            {"workflow_state": "'on'"},
        ),
    ]


def _external_tools(world: World) -> Recipe:
    names = listed(_TOOL_NAMES)
    return Recipe(
        "canvas.context_external_tools",
        f"""
        SELECT 1 + i AS id, 1 + i % 3 AS context_id, 'Account' AS context_type,
            9 + i % 4 AS developer_key_id, {names}[1 + i % 6] AS name,
            {later(instant(world.began), "86400 * 40")} AS created_at
        FROM range(10) t(i)
        UNION ALL
        SELECT c.id, c.id, 'Course', NULL, {names}[1 + c.id % 6], c.created_at
        FROM canvas.courses c WHERE c.id % 4 = 0
        """,
        {
            "consumer_key": hexadecimal("consumer"),
            "domain": "'tool.example.edu'",
            "url": "concat('https://tool.example.edu/launch/', id, '?a=1&b=\"2\"')",
            "tool_id": "concat('tool-', id)",
        },
    )


def _resource_links() -> Recipe:
    return Recipe(
        "canvas.lti_resource_links",
        """
        SELECT a.id, a.id AS context_id, 'Assignment' AS context_type,
            1 + a.id % 10 AS context_external_tool_id, a.created_at
        FROM canvas.assignments a WHERE a.submission_types[1] = 'external_tool'
        UNION ALL
        SELECT c.id, c.id, 'Course', 1 + c.id % 10, c.created_at FROM canvas.courses c
            WHERE c.id % 5 = 0
        """,
        {
            "lookup_uuid": uuid("lookup"),
            "resource_link_uuid": uuid("link"),
            "workflow_state": "'active'",
        },
    )


def _line_items() -> Recipe:
    return Recipe(
        "canvas.lti_line_items",
        """
        SELECT l.id, a.id AS assignment_id, l.id AS lti_resource_link_id,
            10000000000000 + 9 + a.id % 4 AS client_id,
            coalesce(a.points_possible, 0) AS score_maximum, a.title AS label, l.created_at
        FROM canvas.lti_resource_links l JOIN canvas.assignments a ON a.id = l.context_id
        WHERE l.context_type = 'Assignment'
        """,
        {"coupled": "true", "workflow_state": "'active'"},
    )


def _results() -> Recipe:
    return Recipe(
        "canvas.lti_results",
        """
        SELECT s.id, s.id AS submission_id, s.user_id, i.id AS lti_line_item_id,
            s.score AS result_score, i.score_maximum AS result_maximum,
            s.submitted_at AS created_at, s.updated_at
        FROM canvas.lti_line_items i JOIN canvas.submissions s
            ON s.assignment_id = i.assignment_id
        WHERE s.submitted_at IS NOT NULL
        """,
        {
            "workflow_state": "'active'",
            "activity_progress": "'Completed'",
            "grading_progress": "CASE WHEN result_score IS NULL THEN 'Pending'"
            " ELSE 'FullyGraded' END",
        },
    )


def _blueprints(world: World) -> list[Recipe]:
    child = "m.id + n + 1"
    content = """
        SELECT id AS content_id, context_id, 'Assignment' AS content_type, 0 AS kind
            FROM canvas.assignments
        UNION ALL SELECT id, context_id, 'ContextModule', 1 FROM canvas.context_modules
        UNION ALL SELECT id, context_id, 'WikiPage', 2 FROM canvas.wiki_pages
        UNION ALL SELECT id, context_id, 'Quizzes::Quiz', 3 FROM canvas.quizzes
    """
    return [
        Recipe(
            "canvas.master_courses_master_templates",
            f"""
            SELECT id, id AS course_id, id AS active_migration_id, created_at
            FROM canvas.courses WHERE id % {BLUEPRINT_EVERY} = 0
            """,
            {"full_course": "true", "workflow_state": "'active'"},
        ),
        Recipe(
            "canvas.master_courses_master_migrations",
            """
            SELECT m.id, m.id AS master_template_id, e.user_id, m.created_at
                FROM canvas.master_courses_master_templates m
            JOIN canvas.enrollments e ON e.id = m.course_id * 256 + 60
            """,
            {
                "workflow_state": maybe("failed", 100, "'imports_failed'", "'completed'"),
                "exports_started_at": "created_at",
                "imports_queued_at": f"least({later('created_at', '300')}, {world.now_sql})",
                "imports_completed_at": f"least({later('created_at', '900')}, {world.now_sql})",
                "updated_at": "imports_completed_at",
                "send_notification": "false",
            },
        ),
        Recipe(
            "canvas.master_courses_child_subscriptions",
            f"""
            SELECT {child} AS id, m.id AS master_template_id, c.id AS child_course_id,
                greatest(m.created_at, c.created_at) AS created_at
            FROM canvas.master_courses_master_templates m CROSS JOIN range(3) t(n)
            JOIN canvas.courses c ON c.id = {child}
            """,
            {"workflow_state": "'active'", "use_selective_copy": "true"},
        ),
        Recipe(
            "canvas.master_courses_master_content_tags",
            f"""
            SELECT m.id * 512 + i.kind * 128 + i.content_id % 32 AS id,
                m.id AS master_template_id, i.content_id, i.content_type, m.created_at AS born
            FROM canvas.master_courses_master_templates m JOIN ({content}) i
                ON i.context_id = m.course_id
            """,
            {"use_default_restrictions": chance("default", 800)},
        ),
        Recipe(
            "canvas.master_courses_child_content_tags",
            f"""
            SELECT s.id * 512 + i.kind * 128 + i.content_id % 32 AS id,
                s.id AS child_subscription_id, i.content_id, i.content_type, s.created_at AS born
            FROM canvas.master_courses_child_subscriptions s JOIN ({content}) i
                ON i.context_id = s.child_course_id
            """,
        ),
        Recipe(
            "canvas.master_courses_migration_results",
            """
            SELECT s.id, s.id AS child_subscription_id,
                s.master_template_id AS master_migration_id, m.id AS content_migration_id,
                s.created_at AS born
            FROM canvas.master_courses_child_subscriptions s
            JOIN canvas.content_migrations m ON m.context_id = s.child_course_id
            """,
            {"state": "'completed'", "import_type": "'full'"},
        ),
    ]
