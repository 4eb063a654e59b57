"""Conversations in the inbox, web conferences, and what people mark or keep for themselves."""

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

_FIFTH = part_way("c.start_at", "c.conclude_at", "n + 1", "5")


def recipes(world: World) -> list[Recipe]:
    """The tables about messages and conferences, parents first."""
    return [
        _conversations(world),
        _conversation_participants(world),
        _messages(world),
        _message_participants(),
        _conferences(world),
        _conference_participants(world),
        _favorites(world),
        _comment_bank(world),
    ]


def _conversations(world: World) -> Recipe:
    last = f"least({_FIFTH}, {later(world.now_sql, '-7200')})"
    return Recipe(
        "canvas.conversations",
        f"""
        SELECT c.id * 8 + n AS id, c.id AS context_id, 'Course' AS context_type,
            {last} AS updated_at
        FROM canvas.courses c CROSS JOIN range(4) t(n)
        WHERE c.start_at < {world.now_sql}
            AND (n = 0 OR {world.draw("talk", "c.id * 8 + n", 2)} = 0)
        """,
        {
            "subject": maybe("subject", 800, one_of("title", words().titles)),
            "has_attachments": chance("files", 60),
            "has_media_objects": "false",
            "tags": "concat('course_', context_id)",
        },
    )


def _conversation_participants(world: World) -> Recipe:
    """Seat 0 is the teacher, the others are students of the course."""
    return Recipe(
        "canvas.conversation_participants",
        f"""
        SELECT v.id * 4 + n AS id, e.user_id, v.updated_at, v.updated_at AS last_message_at,
            v.tags, v.has_attachments, v.has_media_objects
        FROM canvas.conversations v CROSS JOIN range(3) t(n)
        JOIN canvas.enrollments e ON e.id = v.context_id * 256
            + CASE n WHEN 0 THEN 60 ELSE {world.draw("partner", "v.id", 5)} + n * 5 - 5 END
        """,
        {
            "workflow_state": one_of("state", ("read", "unread", "archived")),
            "message_count": f"1 + {roll('messages', 5)}",
            "subscribed": chance("subscribed", 960),
            "label": maybe("label", 40, "'starred'"),
        },
    )


def _messages(world: World) -> Recipe:
    return Recipe(
        "canvas.conversation_messages",
        f"""
        SELECT v.id * 8 + n AS id, v.id AS conversation_id, p.user_id AS author_id,
            1 AS context_id, 'Account' AS context_type,
            v.updated_at - to_hours(CAST(n * 5 AS INTEGER)) AS created_at, v.has_attachments
        FROM canvas.conversations v CROSS JOIN range(6) t(n)
        JOIN canvas.conversation_participants p ON p.id = v.id * 4 + n % 3
        WHERE n = 0 OR {world.draw("message", "v.id", 6)} >= n
        """,
        {
            "body": long_text("body"),
            "generated": chance("generated", 20),
            "has_media_objects": "false",
            "attachment_ids": "''",
            "forwarded_message_ids": "NULL",
        },
    )


def _message_participants() -> Recipe:
    return Recipe(
        "canvas.conversation_message_participants",
        """
        SELECT m.id * 4 + n AS id, m.id AS conversation_message_id, p.user_id, p.tags,
            m.created_at AS born, p.id AS conversation_participant_id
        FROM canvas.conversation_messages m CROSS JOIN range(3) t(n)
        JOIN canvas.conversation_participants p ON p.id = m.conversation_id * 4 + n
        """,
        {"workflow_state": "'active'", "deleted_at": "NULL"},
    )


def _conferences(world: World) -> Recipe:
    starts = f"least({_FIFTH}, {later(world.now_sql, '-86400')})"
    return Recipe(
        "canvas.web_conferences",
        f"""
        SELECT c.id * 4 + n AS id, c.id AS context_id, 'Course' AS context_type, e.user_id,
            {starts} AS start_at, concat('course_', c.id) AS context_code
        FROM canvas.courses c CROSS JOIN range(2) t(n) JOIN canvas.enrollments e
            ON e.id = c.id * 256 + 60
        WHERE c.start_at < {later(world.now_sql, "-86400")}
            AND {world.draw("conference", "c.id * 4 + n", 3)} = 0
        """,
        {
            "created_at": later("start_at", "-3600"),
            "started_at": "start_at",
            "duration": "60.0",
            "ended_at": later("start_at", f"1800 + {roll('length', 3600)}"),
            "end_at": "ended_at",
            "updated_at": "ended_at",
            "conference_type": one_of("type", ("BigBlueButton", "AdobeConnect", "CiscoWebex")),
            "user_ids": "concat('[', user_id, ']')",
            "title": one_of("title", ("Office hours", "Sprechstunde", "Q & A", '"Live" lecture')),
        },
    )


def _conference_participants(world: World) -> Recipe:
    return Recipe(
        "canvas.web_conference_participants",
        f"""
        SELECT w.id * 16 + n AS id, w.id AS web_conference_id, e.user_id, w.created_at
        FROM canvas.web_conferences w CROSS JOIN range(12) t(n)
        JOIN canvas.enrollments e ON e.id = w.context_id * 256 + n
        WHERE {world.draw("attends", "w.id * 16 + n", 2)} = 0
        """,
        {"participation_type": one_of("type", ("attendee", "invitee"))},
    )


def _favorites(world: World) -> Recipe:
    return Recipe(
        "canvas.favorites",
        f"""
        SELECT e.id, e.user_id, e.course_id AS context_id, e.created_at AS born,
            'Course' AS context_type
        FROM canvas.enrollments e WHERE {world.draw("favorite", "e.id", 10)} < 2
        """,
        {"created_at": moment("made", "born", world.now_sql)},
    )


def _comment_bank(world: World) -> Recipe:
    return Recipe(
        "canvas.comment_bank_items",
        f"""
        SELECT e.course_id * 4 + n AS id, e.user_id, e.course_id, e.created_at
        FROM canvas.enrollments e CROSS JOIN range(3) t(n)
        WHERE e.id % 256 = 60 AND {world.draw("comment bank", "e.id * 4 + n", 4)} = 0
        """,
        {"comment": long_text("comment")},
    )
