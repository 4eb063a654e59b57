"""What fills a course: wiki pages, modules, folders, files and the calendar."""

from __future__ import annotations

from .expressions import between, chance, hexadecimal, later, maybe, moment, one_of, roll
from .recipe import Recipe
from .submissions import UPLOADS
from .words import words
from .world import World

USER_ROOMS = 1_000_000_000  # folders and calendar events of users start here


def recipes(world: World) -> list[Recipe]:
    """The tables about content, parents first."""
    return [
        _wikis(),
        _pages(world),
        _folders(),
        _attachments(world),
        _attachment_associations(),
        _modules(world),
        _tags(),
        _progressions(world),
        _calendar(world),
        _migrations(world),
        _shares(world),
    ]


def _wikis() -> Recipe:
    return Recipe(
        "canvas.wikis",
        "SELECT id, name || ' Wiki' AS title, created_at FROM canvas.courses",
        {
            "front_page_url": maybe("front", 600, "'welcome'"),
            "has_no_front_page": "front_page_url IS NULL",
        },
    )


def _pages(world: World) -> Recipe:
    return Recipe(
        "canvas.wiki_pages",
        f"""
        SELECT c.id * 16 + n AS id, c.id AS context_id, 'Course' AS context_type, c.wiki_id,
            e.user_id, c.created_at AS born, n
        FROM canvas.courses c CROSS JOIN range(9) t(n)
        JOIN canvas.enrollments e ON e.id = c.id * 256 + 60
        WHERE n < 3 OR {world.draw("page", "c.id * 16 + n", 2)} = 0
        """,
        {
            "created_at": moment("made", "born", world.now_sql),
            "title": one_of("title", words().titles),
            "url": "CASE n WHEN 0 THEN 'welcome' ELSE concat('page-', id) END",
            "editing_roles": one_of("roles", ("teachers", "teachers,students", "public")),
            "revised_at": "created_at",
            "protected_editing": "false",
        },
    )


def _folders() -> Recipe:
    return Recipe(
        "canvas.folders",
        f"""
        SELECT c.id * 4 + n AS id, c.id AS context_id, 'Course' AS context_type, c.created_at,
            CASE WHEN n > 0 THEN c.id * 4 END AS parent_folder_id, n + 1 AS position,
            ['course files', 'Uploaded Media', 'Folien (alt)'][n + 1] AS name,
            ['course files', 'course files/Uploaded Media', 'course files/Folien (alt)'][n
                + 1] AS full_name
        FROM canvas.courses c CROSS JOIN range(3) t(n)
        UNION ALL
        SELECT {USER_ROOMS} + u.id, u.id, 'User', u.created_at, NULL, 1, 'my files', 'my files'
        FROM canvas.users u WHERE u.id % 2 = 0
        """,
        {"workflow_state": "'visible'", "locked": chance("locked", 30), "deleted_at": "NULL"},
    )


def _attachments(world: World) -> Recipe:
    return Recipe(
        "canvas.attachments",
        f"""
        SELECT {UPLOADS} + s.id AS id, s.assignment_id AS context_id,
            'Assignment' AS context_type, s.user_id, s.submitted_at AS wanted, NULL AS folder_id
        FROM canvas.submissions s WHERE s.submission_type = 'online_upload'
        UNION ALL
        SELECT c.id * 16 + n, c.id, 'Course', e.user_id, c.created_at, c.id * 4 + n % 3
        FROM canvas.courses c CROSS JOIN range(12) t(n)
        JOIN canvas.enrollments e ON e.id = c.id * 256 + 60
        WHERE n < 3 OR {world.draw("file", "c.id * 16 + n", 2)} = 0
        UNION ALL
        SELECT {2 * UPLOADS} + u.id, u.id, 'User', u.id, u.created_at, {USER_ROOMS} + u.id
        FROM canvas.users u WHERE u.id % 6 = 0
        UNION ALL
        SELECT {3 * UPLOADS} + m.id, m.author_id, 'User', m.author_id, m.created_at, NULL
        FROM canvas.conversation_messages m WHERE m.has_attachments
        """,
        {
            "created_at": "wanted",
            "filename": one_of("file", words().file_names),
            "display_name": "filename",
            "content_type": one_of(
                "type", ("application/pdf", "image/jpeg", "text/plain", "video/mp4")
            ),
            "size": f"CAST(exp(5 + {roll('size', 1300)} / 100.0) AS BIGINT)",
            "md5": hexadecimal("md5"),
            "workflow_state": "'processed'",
            "modified_at": "created_at",
            "file_state": maybe("hidden", 40, "'unpublished'", "'available'"),
            "deleted_at": "NULL",
            "locked": chance("locked", 10),
            "uuid": hexadecimal("uuid"),
            "namespace": "'account_1'",
            "root_attachment_id": "NULL",
        },
    )


def _attachment_associations() -> Recipe:
    return Recipe(
        "canvas.attachment_associations",
        f"""
        SELECT s.id, s.attachment_id, s.id AS context_id, 'Submission' AS context_type,
            s.submitted_at AS born
        FROM canvas.submissions s WHERE s.attachment_id IS NOT NULL
        UNION ALL
        SELECT {UPLOADS} + m.id, {3 * UPLOADS} + m.id, m.id, 'ConversationMessage', m.created_at
        FROM canvas.conversation_messages m WHERE m.has_attachments
        """,
    )


def _modules(world: World) -> Recipe:
    return Recipe(
        "canvas.context_modules",
        f"""
        SELECT c.id * 8 + n AS id, c.id AS context_id, 'Course' AS context_type, c.created_at,
            n + 1 AS position, concat('Module ', n + 1, ': ') AS prefix
        FROM canvas.courses c CROSS JOIN range(5) t(n)
        WHERE n < 2 OR {world.draw("module", "c.id * 8 + n", 3)} > 0
        """,
        {
            "name": f"concat(prefix, {one_of('title', words().titles)})",
            "require_sequential_progress": chance("sequential", 200),
            "requirement_count": "NULL",
            "completion_events": "NULL",
        },
    )


def _tags() -> Recipe:
    """The items of a module: an assignment, a quiz, a page and a topic, where they exist."""
    return Recipe(
        "canvas.content_tags",
        """
        SELECT m.id * 8 + i.n AS id, m.id AS context_module_id, m.context_id, m.created_at,
            i.content_id, i.n + 1 AS position, i.content_type, i.title,
            'context_module' AS tag_type, concat('course_', m.context_id) AS context_code,
            'Course' AS context_type
        FROM canvas.context_modules m JOIN (
            SELECT 0 AS n, id AS content_id, context_id, id % 32 AS number, title,
                'Assignment' AS content_type
            FROM canvas.assignments
            UNION ALL
            SELECT 1, id, context_id, id % 32 - 2, title, 'Quizzes::Quiz' FROM canvas.quizzes
                WHERE assignment_id IS NOT NULL
            UNION ALL SELECT 2, id, context_id, id % 16, title, 'WikiPage' FROM canvas.wiki_pages
            UNION ALL
            SELECT 3, id, context_id, id % 32 - 1, title, 'DiscussionTopic'
                FROM canvas.discussion_topics
            WHERE context_type = 'Course'
        ) i ON i.context_id = m.context_id AND i.number = m.id % 8
        """,
        {
            "workflow_state": "'active'",
            "associated_asset_type": "NULL",
            "rubric_association_id": "NULL",
            "mastery_score": "NULL",
            "url": "NULL",
        },
    )


def _progressions(world: World) -> Recipe:
    return Recipe(
        "canvas.context_module_progressions",
        f"""
        SELECT e.id * 8 + m.id % 8 AS id, e.user_id, m.id AS context_module_id, e.created_at
        FROM canvas.context_modules m JOIN canvas.enrollments e ON e.course_id = m.context_id
        WHERE e.type = 'StudentEnrollment'
            AND {world.draw("progress", "e.id * 8 + m.id % 8", 10)} < 4
        """,
        {
            "workflow_state": one_of("state", ("locked", "unlocked", "started", "completed")),
            "completed_at": "CASE workflow_state WHEN 'completed'"
            f" THEN {moment('done', 'created_at', world.now_sql)} END",
            "updated_at": f"coalesce(completed_at, {moment('seen', 'created_at', world.now_sql)})",
            "evaluated_at": "updated_at",
            "current_position": between("position", 1, 6),
            "lock_version": roll("version", 9),
            "collapsed": chance("collapsed", 100),
        },
    )


def _calendar(world: World) -> Recipe:
    return Recipe(
        "canvas.calendar_events",
        f"""
        SELECT c.id * 16 + n AS id, c.id AS context_id, 'Course' AS context_type, e.user_id,
            c.created_at, c.start_at + to_days(CAST(7 * n AS INTEGER)) AS start_at,
            concat('course_', c.id) AS context_code,
            CASE WHEN n > 2 THEN c.id * 16 END AS parent_calendar_event_id
        FROM canvas.courses c CROSS JOIN range(5) t(n) JOIN canvas.enrollments e
            ON e.id = c.id * 256 + 60
        WHERE n = 0 OR {world.draw("event", "c.id * 16 + n", 2)} = 0
        UNION ALL
        SELECT s.id * 16 + 9, s.id, 'CourseSection', e.user_id, s.created_at,
            c.start_at + to_days(3), concat('course_section_', s.id), NULL
        FROM canvas.course_sections s JOIN canvas.courses c ON c.id = s.course_id
        JOIN canvas.enrollments e ON e.id = c.id * 256 + 60 WHERE s.id % 3 = 0
        UNION ALL
        SELECT {USER_ROOMS} + u.id, u.id, 'User', u.id, u.created_at, u.created_at + to_days(30),
            concat('user_', u.id), NULL
        FROM canvas.users u WHERE u.id % 4 = 0
        """,
        {
            "end_at": later("start_at", f"1800 * {between('length', 1, 6)}"),
            "title": one_of(
                "title", ("Lecture", "Exkursion 🚌", 'Exam, room "A"', "סמינר", "Office hours")
            ),
            "location_name": maybe(
                "place", 500, one_of("room", ("Hall 1", "Aula", "B\\204", "online"))
            ),
            "all_day": chance("all day", 100),
            "all_day_date": "CASE WHEN all_day THEN CAST(start_at AS DATE) END",
            "workflow_state": "'active'",
            "deleted_at": "NULL",
            "participants_per_appointment": "NULL",
        },
    )


def _migrations(world: World) -> Recipe:
    return Recipe(
        "canvas.content_migrations",
        f"""
        SELECT c.id, c.id AS context_id, 'Course' AS context_type, e.user_id, c.created_at,
            o.id AS source_course_id
        FROM canvas.courses c JOIN canvas.enrollments e ON e.id = c.id * 256 + 60
        LEFT JOIN canvas.courses o ON o.id = c.id - 7
        WHERE {world.draw("migration", "c.id", 2)} = 0
        """,
        {
            "workflow_state": maybe("failed", 30, "'pre_process_error'", "'imported'"),
            "migration_type": "CASE WHEN source_course_id IS NULL THEN 'canvas_cartridge_importer'"
            " ELSE 'course_copy_importer' END",
            "started_at": f"least({later('created_at', '60')}, {world.now_sql})",
            "finished_at": f"least({later('started_at', roll('took', 900))}, {world.now_sql})",
            "updated_at": "finished_at",
            "progress": "100.0",
        },
    )


def _shares(world: World) -> Recipe:
    return Recipe(
        "canvas.content_shares",
        f"""
        SELECT e.id * 2 + n AS id,
            CASE n WHEN 0 THEN e.user_id ELSE 1001 + e.user_id % {world.staff} END AS user_id,
            CASE n WHEN 0 THEN NULL ELSE e.user_id END AS sender_id,
            e.course_id AS content_export_id,
            CASE n WHEN 0 THEN 'SentContentShare' ELSE 'ReceivedContentShare' END AS type,
            e.created_at
        FROM canvas.enrollments e CROSS JOIN range(2) t(n)
        WHERE e.id % 256 = 60 AND e.course_id % 6 = 0
        """,
        {"name": one_of("title", words().titles)},
    )
