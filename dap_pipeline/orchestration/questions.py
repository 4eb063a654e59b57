"""Questions that the demo asks the warehouse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb


@dataclass(frozen=True)
class Question:
    """A question in words and in SQL."""

    words: str
    sql: str


@dataclass(frozen=True)
class Answer:
    """What the warehouse answers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


QUESTIONS = (
    Question(
        "In which courses is the most work handed in on time?",
        """\
SELECT c.name AS course, count(*) AS handed_in,
       round(100 * avg((s.submitted_at <= s.cached_due_date)::INTEGER), 1) AS percent_on_time
FROM canvas.submissions AS s
JOIN canvas.courses AS c ON c.id = s.course_id
WHERE s.submitted_at IS NOT NULL AND s.cached_due_date IS NOT NULL
GROUP BY c.id, c.name
HAVING handed_in >= 20
ORDER BY percent_on_time DESC, handed_in DESC, course
LIMIT 5""",
    ),
    Question(
        "At which hours of the day (UTC) is Canvas used most?",
        """\
SELECT hour("timestamp" AT TIME ZONE 'UTC') AS hour, count(*) AS requests,
       count(DISTINCT user_id) AS people
FROM canvas_logs.web_logs
GROUP BY hour
ORDER BY requests DESC, hour
LIMIT 5""",
    ),
    Question(
        "How many students and teachers has each term?",
        """\
SELECT t.name AS term,
       count(DISTINCT e.user_id) FILTER (e.type = 'StudentEnrollment') AS students,
       count(DISTINCT e.user_id) FILTER (e.type = 'TeacherEnrollment') AS teachers,
       count(DISTINCT c.id) AS courses
FROM canvas.enrollments AS e
JOIN canvas.courses AS c ON c.id = e.course_id
JOIN canvas.enrollment_terms AS t ON t.id = c.enrollment_term_id
WHERE e.workflow_state <> 'deleted'
GROUP BY t.id, t.name, t.start_at
ORDER BY t.start_at NULLS LAST, term""",
    ),
)

LOADED = Question(
    "What is in the lake?",
    """\
SELECT namespace, count(*) AS tables, sum(rows)::BIGINT AS rows, sum(bytes)::BIGINT AS bytes,
       strftime(max(as_of) AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M UTC') AS as_of
FROM dap.tables
GROUP BY namespace
ORDER BY namespace""",
)


def ask(warehouse: Path, question: Question) -> Answer:
    """Ask the warehouse, as any reader of the file would."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        cursor = connection.execute(question.sql)
        columns = tuple(column[0] for column in cursor.description or ())
        return Answer(columns, tuple(cursor.fetchall()))
