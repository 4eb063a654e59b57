"""Users, how they log in, how they are reached, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

from .expressions import (
    between,
    chance,
    instant,
    later,
    listed,
    maybe,
    moment,
    one_of,
    roll,
    weighted,
)
from .recipe import Recipe
from .words import words
from .world import World

FIRST_STAFF = 1001
FIRST_STUDENT = 100_001


@dataclass(frozen=True)
class Canary:
    """A person whose values are unmistakable: privacy tests look for them where none belong."""

    user_id: int = 100_000
    name: str = "Quillon Zephyrwatch"
    sortable_name: str = "Zephyrwatch, Quillon"
    short_name: str = "Quill Zephyrwatch"
    login: str = "qzephyrwatch77041"
    email: str = "quillon.zephyrwatch@example.edu"
    sis_user_id: str = "SIS-CANARY-77041"
    phone: str = "+15550177041@sms.example.org"
    ip: str = "203.0.113.77"


CANARY = Canary()
IS_CANARY = f"user_id = {CANARY.user_id}"


def recipes(world: World) -> list[Recipe]:
    """The tables about people."""
    return [
        _users(world),
        _pseudonyms(world),
        _communication_channels(world),
        _account_users(),
        _user_account_associations(),
        _access_tokens(world),
    ]


def login(user_id: str, sortable_name: str) -> str:
    """The login name of a user: Latin letters of the name, as far as there are any, and the id."""
    letters = f"regexp_replace(strip_accents(lower({sortable_name})), '[^a-z]', '', 'g')"
    made = f"concat(coalesce(nullif(left({letters}, 8), ''), 'user'), {user_id})"
    return f"CASE WHEN {user_id} = {CANARY.user_id} THEN '{CANARY.login}' ELSE {made} END"


def email(user_id: str, sortable_name: str) -> str:
    """The e-mail address of a user."""
    return (
        f"CASE WHEN {user_id} = {CANARY.user_id} THEN '{CANARY.email}'"
        f" ELSE concat({login(user_id, sortable_name)}, '@example.edu') END"
    )


def remote_ip(number: str) -> str:
    """An address from the ranges kept for documentation, from any whole number."""
    host = f"(1 + ({number}) % 254)"
    other_than_canary = f"(1 + ({number}) % 76)"
    return (
        f"CASE ({number}) % 8 WHEN 0 THEN concat('2001:db8::', to_hex({host}))"
        f" WHEN 1 THEN concat('203.0.113.', {other_than_canary})"
        f" WHEN 2 THEN concat('192.0.2.', {host})"
        f" ELSE concat('198.51.100.', {host}) END"
    )


def _users(world: World) -> Recipe:
    given, family = words().given_names, words().family_names
    starts = ", ".join(instant(term.start) for term in world.terms)
    # The term in which a student came: the first whose span of students includes this one.
    came = (
        f"1 + greatest(0, (ordinal - {world.students_per_term} + {world.students_leaving})"
        f" // {world.students_leaving})"
    )
    canary = f"id = {CANARY.user_id}"
    arrival = f"least({later(f'[{starts}][least({came}, {len(world.terms)})]', '-86400 * 30')}, "
    arrival += f"{later(world.now_sql, '-86400 * 2')})"
    return Recipe(
        "canvas.users",
        f"""
        SELECT {FIRST_STAFF} + i AS id, i AS ordinal, 'staff' AS kind
        FROM range({world.staff}) t(i)
        UNION ALL
        SELECT {FIRST_STUDENT} + i, i,
            CASE WHEN i < {world.base_students} THEN 'student' ELSE 'newcomer' END
        FROM range({world.students}) t(i)
        UNION ALL SELECT {CANARY.user_id}, 0, 'canary'
        """,
        {
            "culture": f"1 + {roll('culture', len(given))}",
            "given": f"[{', '.join(map(listed, given))}][culture][1 + {roll('given', 10)}]",
            "family": f"[{', '.join(map(listed, family))}][culture][1 + {roll('family', 8)}]",
            "name": f"CASE WHEN {canary} THEN '{CANARY.name}' ELSE given || ' ' || family END",
            "sortable_name": f"CASE WHEN {canary} THEN '{CANARY.sortable_name}'"
            " ELSE family || ', ' || given END",
            "short_name": f"CASE WHEN {canary} THEN '{CANARY.short_name}'"
            f" WHEN {chance('short', 150)} THEN given ELSE name END",
            "came": f"CASE WHEN kind = 'student' THEN {arrival} ELSE {instant(world.began)} END",
            "created_at": f"CASE WHEN kind = 'newcomer' THEN"
            f" {moment('newcomer', world.newest_from, world.now_sql)}"
            f" ELSE {later('came', roll('arrival', 86400))} END",
            "workflow_state": f"CASE WHEN {canary} OR kind = 'staff' THEN 'registered' ELSE"
            f" {weighted('state', {'registered': 95, 'pre_registered': 3, 'deleted': 2})} END",
            "pronouns": maybe(
                "pronouns",
                120,
                one_of("pronoun", ("she/her", "he/him", "they/them", "sie", "elle, iel")),
            ),
            "uuid": "left(md5(concat('user ', id, r1)) || md5(concat(r2)), 40)",
            "school_name": "'University of Example, Faculty of \"Made-up\" Things'",
            "school_position": maybe("position", 200, "kind"),
            "avatar_image_url": maybe(
                "avatar", 300, "concat('https://school.example.edu/images/thumbnails/', id)"
            ),
            "avatar_image_source": "CASE WHEN avatar_image_url IS NOT NULL THEN 'attachment' END",
            "avatar_image_updated_at": "CASE WHEN avatar_image_url IS NOT NULL THEN created_at END",
            "last_logged_out": maybe("logout", 400, moment("out", "created_at", world.now_sql)),
            "storage_quota": "52428800",
        },
    )


def _pseudonyms(world: World) -> Recipe:
    logged_in = "workflow_state = 'active' AND login_count > 0"
    ip = f"CASE WHEN {IS_CANARY} THEN '{CANARY.ip}' ELSE {remote_ip('user_id')} END"
    return Recipe(
        "canvas.pseudonyms",
        f"""
        SELECT id * 2 + n AS id, id AS user_id, n AS second, 1 AS account_id, created_at,
            workflow_state AS user_state, {login("id", "sortable_name")} AS login
        FROM canvas.users CROSS JOIN range(2) t(n)
        WHERE n = 0 OR {world.draw("second login", "id", 12)} = 0 AND id <> {CANARY.user_id}
        """,
        {
            "unique_id": "CASE WHEN second = 1 THEN concat('guest.', login) ELSE login END",
            "sis_user_id": f"CASE WHEN {IS_CANARY} THEN '{CANARY.sis_user_id}'"
            " WHEN second = 0 THEN concat('SIS-U', user_id) END",
            "workflow_state": "CASE WHEN user_state = 'deleted' THEN 'deleted'"
            f" WHEN {chance('suspended', 8)} AND user_id > {FIRST_STUDENT} THEN 'suspended'"
            " ELSE 'active' END",
            "login_count": f"CASE WHEN {chance('never', 40)} AND NOT {IS_CANARY} THEN 0"
            f" ELSE {between('logins', 1, 900)} END",
            "failed_login_count": maybe("failed", 60, between("fails", 1, 6), "0"),
            "current_login_at": f"CASE WHEN {logged_in}"
            f" THEN {moment('login', 'created_at', world.now_sql)} END",
            "last_login_at": "CASE WHEN login_count > 1 THEN"
            f" {moment('before', 'created_at', 'current_login_at')} END",
            "last_request_at": "CASE WHEN current_login_at IS NOT NULL THEN least("
            f"{later('current_login_at', roll('request', 7200))}, {world.now_sql}) END",
            "updated_at": "coalesce(last_request_at, created_at)",
            "current_login_ip": f"CASE WHEN current_login_at IS NOT NULL THEN {ip} END",
            "last_login_ip": f"CASE WHEN last_login_at IS NOT NULL THEN {ip} END",
            "position": "1 + second",
        },
    )


def _communication_channels(world: World) -> Recipe:
    mail = email("user_id", "sortable_name")
    phone = (
        f"CASE WHEN {IS_CANARY} THEN '{CANARY.phone}'"
        " ELSE concat('+1555', lpad(CAST(user_id AS VARCHAR), 7, '0'), '@sms.example.org') END"
    )
    return Recipe(
        "canvas.communication_channels",
        f"""
        SELECT u.id * 4 + n AS id, u.id AS user_id, u.id * 2 AS pseudonym_id, u.sortable_name,
            u.created_at, n + 1 AS position, ['email', 'sms', 'push'][n + 1] AS path_type,
            u.workflow_state AS user_state
        FROM canvas.users u CROSS JOIN range(3) t(n)
        WHERE n = 0 OR u.id = {CANARY.user_id} AND n = 1
            OR {world.draw("channel", "u.id * 4 + n", 10)} < 4 - n
        """,
        {
            "path": f"CASE path_type WHEN 'email' THEN {mail} WHEN 'sms' THEN {phone}"
            " ELSE 'push' END",
            "workflow_state": "CASE WHEN user_state = 'registered' THEN 'active'"
            " ELSE 'unconfirmed' END",
            "bounce_count": maybe("bounces", 20, between("bounce", 1, 5), "0"),
            "confirmation_sent_count": roll("sent", 3),
        },
    )


def _account_users() -> Recipe:
    return Recipe(
        "canvas.account_users",
        f"""
        SELECT u.id - {FIRST_STAFF} + 1 AS id, u.id AS user_id, u.created_at,
            CASE WHEN u.id < {FIRST_STAFF + 2} THEN 1 ELSE 2 + u.id % 18 END AS account_id,
            CASE WHEN u.id < {FIRST_STAFF + 2} THEN 6 ELSE 7 END AS role_id
        FROM canvas.users u WHERE u.id < {FIRST_STAFF + 10}
        """,
        {"workflow_state": "'active'"},
    )


def _user_account_associations() -> Recipe:
    return Recipe(
        "canvas.user_account_associations",
        """
        SELECT u.id * 2 + n AS id, u.id AS user_id, n AS depth, u.created_at,
            CASE n WHEN 0 THEN 1 ELSE 7 + u.id % 13 END AS account_id
        FROM canvas.users u CROSS JOIN range(2) t(n) WHERE n = 0 OR u.id % 3 = 0
        """,
    )


def _access_tokens(world: World) -> Recipe:
    return Recipe(
        "canvas.access_tokens",
        f"""
        SELECT u.id, u.id AS user_id, 1 + u.id % 8 AS developer_key_id, u.created_at AS born,
            CASE WHEN u.id % 97 = 0 THEN {FIRST_STAFF} END AS real_user_id
        FROM canvas.users u
        WHERE u.workflow_state = 'registered' AND {world.draw("token", "u.id", 5)} = 0
        """,
        {
            "created_at": moment("made", "born", world.now_sql),
            "last_used_at": maybe("used", 800, moment("used at", "created_at", world.now_sql)),
            "purpose": maybe(
                "why", 500, one_of("purpose", ("mobile", "grading script", "R & SQL", "日程"))
            ),
        },
    )
