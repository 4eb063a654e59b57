"""Discussion topics, announcements, entries and who has read them.

Topics of a course are numbered below 32 like its assignments: graded topics share the number of
their assignment, announcements begin at 16, ungraded topics at 20, topics of groups at 24.
"""

from __future__ import annotations

from .defaults import long_text
from .expressions import (
    chance,
    later,
    maybe,
    moment,
    one_of,
    part_way,
    roll,
)
from .recipe import Recipe
from .words import words
from .world import World

MOST_ENTRIES = 40


def recipes(world: World) -> list[Recipe]:
    """The tables about discussions, parents first."""
    return [_topics(world), _entries(world), _entry_participants(world), _topic_participants(world)]


def _topics(world: World) -> Recipe:
    posted = "c.start_at + to_days(CAST((n - 15) * 9 AS INTEGER))"
    return Recipe(
        "canvas.discussion_topics",
        f"""
        SELECT a.id, a.context_id, 'Course' AS context_type, a.id AS assignment_id, t.user_id,
            a.created_at, a.title AS assignment_title, a.workflow_state AS state, NULL AS type,
            NULL AS group_category_id
        FROM canvas.assignments a JOIN canvas.enrollments t ON t.id = a.context_id * 256 + 60
        WHERE a.submission_types[1] = 'discussion_topic'
        UNION ALL
        SELECT c.id * 32 + n, c.id, 'Course', NULL, t.user_id, {posted}, NULL, 'active',
            CASE WHEN n < 20 THEN 'Announcement' END, NULL
        FROM canvas.courses c CROSS JOIN range(16, 22) s(n)
        JOIN canvas.enrollments t ON t.id = c.id * 256 + 60
        WHERE {posted} < {world.now_sql} AND {posted} < c.conclude_at
            AND {world.draw("topic", "c.id * 32 + n", 10)} < 7
        UNION ALL
        SELECT g.context_id * 32 + 24 + g.id % 8, g.id, 'Group', NULL, g.leader_id, g.created_at,
            NULL, 'active', NULL, g.group_category_id
        FROM canvas.groups g WHERE g.leader_id IS NOT NULL AND g.id % 3 = 0
        """,
        {
            "title": f"coalesce(assignment_title, {one_of('title', words().titles)})",
            "workflow_state": "CASE state WHEN 'published' THEN 'active' ELSE state END",
            "posted_at": "CASE WHEN workflow_state = 'active' THEN created_at END",
            "updated_at": f"least({later('created_at', roll('change', 86400))}, {world.now_sql})",
            "last_reply_at": maybe("replied", 700, moment("reply", "updated_at", world.now_sql)),
            "discussion_type": one_of("kind", ("threaded", "side_comment", "not_threaded")),
            "delayed_post_at": "NULL",
            "locked": chance("locked", 50),
            "editor_id": maybe("edited", 200, "user_id"),
            "is_section_specific": "false",
        },
    )


def _entries(world: World) -> Recipe:
    """Entries n - n % 3 and the two after it are a thread: each replies to the one before.

    They begin when everyone has been enrolled, so that each comes after the one it replies to and
    after its author.
    """
    until = f"least(to_days(40) + begin, {world.now_sql})"
    count = f"3 + {world.draw('entries', 'p.id', MOST_ENTRIES - 3)}"
    seat = world.draw("author", "p.id * 64 + n", 12)
    return Recipe(
        "canvas.discussion_entries",
        f"""
        SELECT p.id * 64 + n AS id, p.id AS discussion_topic_id, e.user_id, n % 3 + 1 AS depth,
            CASE WHEN n % 3 > 0 THEN p.id * 64 + n - 1 END AS parent_id,
            CASE WHEN n % 3 > 0 THEN p.id * 64 + n - n % 3 END AS root_entry_id,
            {part_way("begin", until, "n + 1", "p.replies + 1")} AS created_at
        FROM (
            SELECT p.id, p.context_id,
                CASE WHEN p.assignment_id IS NULL THEN 6 ELSE {count} END AS replies,
                greatest(p.created_at, c.start_at + to_days(2)) AS begin
            FROM canvas.discussion_topics p JOIN canvas.courses c ON c.id = p.context_id
            WHERE p.context_type = 'Course' AND p.type IS NULL
        ) p CROSS JOIN range({MOST_ENTRIES}) t(n)
        JOIN canvas.enrollments e ON e.id = p.context_id * 256 + {seat}
        WHERE n < p.replies AND begin < {world.now_sql}
        """,
        {
            "message": long_text("message"),
            "workflow_state": maybe("deleted", 15, "'deleted'", "'active'"),
            "rating_count": roll("ratings", 4),
            "rating_sum": "rating_count",
            "editor_id": maybe("edited", 40, "user_id"),
        },
    )


def _entry_participants(world: World) -> Recipe:
    return Recipe(
        "canvas.discussion_entry_participants",
        f"""
        SELECT p.id * 4 + n AS id, p.id AS discussion_entry_id, e.user_id, p.created_at AS born
        FROM canvas.discussion_entries p CROSS JOIN range(3) t(n)
        JOIN canvas.enrollments e ON e.id = p.discussion_topic_id // 32 * 256
            + ({world.draw("reader", "p.id", 4)} + n * 4)
        WHERE p.meta_action = 'U' AND {world.draw("read", "p.id * 4 + n", 10)} < 4
        """,
        {"workflow_state": "'read'", "rating": maybe("rating", 100, "1")},
    )


def _topic_participants(world: World) -> Recipe:
    return Recipe(
        "canvas.discussion_topic_participants",
        f"""
        SELECT e.id * 32 + p.id % 32 AS id, p.id AS discussion_topic_id, e.user_id,
            p.created_at AS born
        FROM canvas.discussion_topics p JOIN canvas.enrollments e ON e.course_id = p.context_id
        WHERE p.context_type = 'Course' AND e.type = 'StudentEnrollment'
            AND {world.draw("topic read", "e.id * 32 + p.id % 32", 10)} < 4
        """,
        {
            "workflow_state": one_of("state", ("read", "unread")),
            "unread_entry_count": "CASE workflow_state WHEN 'read' THEN 0"
            f" ELSE 1 + {roll('unread', 9)} END",
        },
    )
