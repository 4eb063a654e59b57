"""The web log: who opened what page when, busy at lectures and in the evening, quiet at night."""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb

from .expressions import (
    instant,
    listed,
    maybe,
    moment,
    one_of,
    roll,
    uuid_of,
    weighted,
)
from .people import CANARY, FIRST_STAFF, remote_ip
from .recipe import Recipe
from .words import words
from .world import LOG_DAYS, World

TABLE = "canvas_logs.web_logs"
FEWEST_PER_STEP = 20
_PAGES = {
    "course": 30,
    "assignment": 22,
    "discussion": 12,
    "quiz": 10,
    "files": 8,
    "dashboard": 8,
    "conversation": 6,
    "profile": 4,
}


def recipe(world: World, rows: int) -> Recipe:
    """So many page views since the last commit, or of the last 30 days while building.

    They are of people in courses that ran in these days or, in a long break, ended last.
    """
    month_ago = instant(world.now - LOG_DAYS)
    open_course = f"c.start_at < {world.now_sql} AND c.workflow_state IN ('available', 'completed')"
    return Recipe(
        TABLE,
        f"""
        WITH slots AS ({_slots(world, _window_start(world))}),
        counted AS (
            SELECT k, starts, ends,
                CAST({rows} * upto // total - {rows} * (upto - weight) // total AS BIGINT)
                    AS views
            FROM (SELECT *, sum(weight) OVER (ORDER BY k) AS upto, sum(weight) OVER () AS total
                  FROM slots)
        ), people AS (
            SELECT row_number() OVER (ORDER BY e.id) - 1 AS n, e.user_id, e.course_id
            FROM canvas.enrollments e JOIN canvas.courses c ON c.id = e.course_id
            WHERE {open_course} AND e.workflow_state IN ('active', 'completed') AND c.conclude_at
                > least({month_ago}, (SELECT max(c.conclude_at) FROM canvas.courses c
                    WHERE {open_course}) - to_days(7))
        ), views AS (
            SELECT k, starts, ends, j,
                md5(concat('{world.seed}:web log:', epoch_ms(starts), ':', j)) AS digest
            FROM (SELECT *, unnest(range(views)) AS j FROM counted)
        ), picked AS (
            SELECT starts, ends, digest, CASE WHEN j = 0 AND k % 3 = 0 THEN
                (SELECT min(n) FROM people WHERE user_id = {CANARY.user_id}) END AS canary,
                CAST(md5_number_lower(digest) % (SELECT count(*) FROM people) AS BIGINT) AS pick
            FROM views
        )
        SELECT {uuid_of("v.digest")} AS id, v.starts, v.ends, p.user_id, p.course_id AS course
        FROM picked v JOIN people p ON p.n = coalesce(v.canary, v.pick)
        """,
        _columns(),
    )


def rows_for_step(connection: duckdb.DuckDBPyConnection, world: World) -> int:
    """How many page views belong between the last commit and this one."""
    month = f"SELECT sum(weight) FROM ({_slots(world, world.now - LOG_DAYS)})"
    window = f"SELECT sum(weight) FROM ({_slots(world, _window_start(world))})"
    (expected,) = connection.execute(
        f"SELECT (SELECT count(*) FROM {TABLE}) * ({window}) // ({month})"
    ).fetchall()[0]
    return max(FEWEST_PER_STEP, int(expected))


def _window_start(world: World) -> datetime:
    month_ago = world.now - LOG_DAYS
    return max(month_ago, world.since or month_ago)


def _slots(world: World, start: datetime) -> str:
    """Hours back from now to `start`, each with a weight for how busy it is."""
    hours = max(1, -((start - world.now) // timedelta(hours=1)))
    in_term = " OR ".join(
        f"middle BETWEEN {instant(term.start)} AND {instant(term.end)}" for term in world.terms
    )
    return f"""
        SELECT k, greatest(ends - to_hours(1), {instant(start)}) AS starts, ends,
            CASE WHEN hour(middle) BETWEEN 10 AND 15 THEN 20 WHEN hour(middle) IN (20, 21) THEN 15
                WHEN hour(middle) BETWEEN 7 AND 22 THEN 8 WHEN hour(middle) IN (23, 0) THEN 3
                    ELSE 1 END
            * CASE WHEN isodow(middle) > 5 THEN 3 ELSE 10 END
            * CASE WHEN month(middle) = 12 AND day(middle) > 23 THEN 1 WHEN {in_term} THEN 10
                ELSE 2 END
            AS weight
        FROM (SELECT k, {world.now_sql} - to_hours(k) AS ends,
                  {world.now_sql} - to_hours(k) - to_minutes(30) AS middle
              FROM (SELECT CAST(i AS INTEGER) AS k FROM range({hours}) t(i)))
        """


def _columns() -> dict[str, str]:
    about_course = "page NOT IN ('dashboard', 'profile')"
    return {
        "page": weighted("page", _PAGES),
        "timestamp": moment("timestamp", "starts", "ends"),
        "course_id": f"CASE WHEN {about_course} THEN course END",
        "assignment_id": "CASE page WHEN 'assignment'"
        f" THEN course * 32 + {roll('assignment', 6)} END",
        "quiz_id": "CASE page WHEN 'quiz' THEN course * 32 + 3 END",
        "discussion_id": "CASE page WHEN 'discussion' THEN course * 32 + 2 END",
        "conversation_id": "CASE page WHEN 'conversation' THEN course * 8 END",
        "url": "CASE page WHEN 'course' THEN concat('/courses/', course)"
        " WHEN 'assignment' THEN concat('/courses/', course, '/assignments/', assignment_id)"
        " WHEN 'discussion' THEN concat('/courses/', course, '/discussion_topics/', discussion_id)"
        " WHEN 'quiz' THEN concat('/courses/', course, '/quizzes/', quiz_id, '/take?preview=\"0\"')"
        f" WHEN 'files' THEN concat('/courses/', course, '/files/', {roll('file', 9999)}, '?q=a,b')"
        " WHEN 'conversation' THEN concat('/api/v1/conversations/', conversation_id)"
        " WHEN 'profile' THEN '/profile/settings' ELSE '/' END",
        "http_method": weighted(
            "method", {"GET": 86, "POST": 10, "PUT": 2, "HEAD": 1, "DELETE": 1}
        ),
        "http_status": one_of("status", [200] * 40 + [302] * 4 + [304] * 3 + [404, 401, 422, 503]),
        "http_version": weighted("version", {"2.0": 7, "1.1": 3}),
        "remote_ip": f"CASE WHEN user_id = {CANARY.user_id} THEN '{CANARY.ip}' ELSE"
        f" {remote_ip('user_id * 31 + day(starts) // 10')} END",
        "interaction_micros": f"CAST(exp(8 + {roll('micros', 800)} / 100.0) AS INTEGER)",
        "web_application_controller": "CASE page WHEN 'course' THEN 'courses' WHEN 'dashboard'"
        " THEN 'users'"
        " WHEN 'assignment' THEN 'assignments' WHEN 'discussion' THEN 'discussion_topics'"
        " WHEN 'quiz' THEN 'quizzes/quizzes' WHEN 'conversation' THEN 'conversations'"
        " ELSE page END",
        "web_application_action": "CASE WHEN http_method = 'POST' THEN 'create'"
        " WHEN page = 'dashboard'"
        " THEN 'user_dashboard' ELSE 'show' END",
        "web_application_context_type": f"CASE WHEN {about_course} THEN 'Course'"
        " ELSE 'UserProfile' END",
        "web_application_context_id": "coalesce(course_id, user_id)",
        "session_id": uuid_of("md5(concat('session ', user_id, CAST(starts AS DATE)))"),
        "participated": "http_method = 'POST' AND page IN ('assignment', 'discussion', 'quiz')",
        "user_agent": f"{listed(words().user_agents)}[1 + user_id % {len(words().user_agents)}]",
        "real_user_id": maybe("masquerade", 2, str(FIRST_STAFF)),
        "developer_key_id": maybe("key", 80, f"1 + {roll('which key', 8)}"),
    }
