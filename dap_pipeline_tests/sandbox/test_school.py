"""The made-up school: whole, coherent, lively, and strange enough to trouble careless readers."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from dap_pipeline.sandbox.school import CANARY, build_school
from dap_pipeline.sandbox.school.build import EMPTY_TABLES
from dap_pipeline.sandbox.school.catalogue import shipped_tables
from dap_pipeline.sandbox.store import Store
from dap_pipeline_tests.sandbox.school_rules import (
    ask,
    broken_values,
    dangling_references,
    duplicate_keys,
    mismatched_types,
    number,
    times_out_of_order,
)

ROWS = 60_000
AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("school")) as store:
        build_school(store, rows=ROWS, as_of=AS_OF)
        yield store


def row_counts(store: Store) -> dict[str, int]:
    return {
        name: number(store, f"SELECT count(*) FROM {table.sql_name}")
        for name, table in shipped_tables().items()
    }


def test_every_shipped_table_is_there_and_only_the_named_ones_are_empty(school: Store) -> None:
    counts = row_counts(school)
    assert len(counts) == 119
    assert sorted(name for name, rows in counts.items() if rows == 0) == sorted(EMPTY_TABLES)


def test_the_rows_add_up_to_what_was_asked_for(school: Store) -> None:
    assert sum(row_counts(school).values()) == pytest.approx(ROWS, rel=0.02)


def test_page_views_and_submissions_are_the_largest_tables(school: Store) -> None:
    counts = row_counts(school)
    largest = sorted(counts, key=lambda name: counts[name])[-2:]
    assert set(largest) == {"canvas_logs.web_logs", "canvas.submissions"}


def test_every_reference_leads_to_a_row(school: Store) -> None:
    assert dangling_references(school) == []


def test_the_type_beside_a_reference_names_the_table_it_leads_to(school: Store) -> None:
    assert mismatched_types(school) == []


def test_no_key_occurs_twice(school: Store) -> None:
    assert duplicate_keys(school) == []


def test_required_columns_enums_and_lengths_are_as_the_schema_says(school: Store) -> None:
    assert broken_values(school) == []


def test_rows_change_after_they_are_made_and_are_committed_after_they_change(
    school: Store,
) -> None:
    assert times_out_of_order(school) == []


def test_every_commit_is_a_whole_number_of_four_hour_steps_before_the_newest(
    school: Store,
) -> None:
    newest = AS_OF.replace(tzinfo=None)
    for table in shipped_tables().values():
        for (commit,) in ask(school, f"SELECT DISTINCT meta_ts FROM {table.sql_name}"):
            assert commit <= newest
            assert (newest - commit) % timedelta(hours=4) == timedelta(0), table.name


def test_most_rows_of_a_table_were_committed_long_ago(school: Store) -> None:
    old, all_rows = ask(
        school,
        "SELECT count(*) FILTER (meta_ts < TIMESTAMP '2026-11-16 12:00:00'), count(*)"
        " FROM canvas.submissions",
    )[0]
    assert 0.7 * all_rows < old < all_rows


def test_the_store_knows_when_the_school_was_committed(school: Store) -> None:
    assert school.school_committed_at() == AS_OF


def test_a_store_takes_no_second_school(school: Store) -> None:
    with pytest.raises(ValueError, match="already holds a school"):
        build_school(school, rows=ROWS, as_of=AS_OF)


def test_students_hand_in_work_of_courses_they_are_enrolled_in_once(school: Store) -> None:
    strangers = """
        SELECT count(*) FROM canvas.submissions s
        LEFT JOIN canvas.enrollments e ON e.user_id = s.user_id AND e.course_id = s.course_id
            AND e.type = 'StudentEnrollment'
        JOIN canvas.assignments a ON a.id = s.assignment_id
        WHERE e.id IS NULL OR a.context_id <> s.course_id
    """
    twice = """
        SELECT count(*) - count(DISTINCT (user_id, assignment_id)) FROM canvas.submissions
    """
    assert number(school, strangers) == 0
    assert number(school, twice) == 0


def test_scores_lie_between_nothing_and_the_points_possible(school: Store) -> None:
    query = """
        SELECT count(*) FILTER (s.score < 0 OR s.score > a.points_possible), count(s.score)
        FROM canvas.submissions s JOIN canvas.assignments a ON a.id = s.assignment_id
    """
    outside, scored = ask(school, query)[0]
    assert outside == 0
    assert scored > 1000


def test_some_work_is_late_and_marked_so(school: Store) -> None:
    query = """
        SELECT count(*) FILTER (submitted_at > cached_due_date),
            count(*) FILTER ((submitted_at > cached_due_date) <> (cached_tardiness = 'late'))
        FROM canvas.submissions WHERE submitted_at IS NOT NULL AND cached_tardiness IS NOT NULL
    """
    late, wrongly_marked = ask(school, query)[0]
    assert late > 100
    assert wrongly_marked == 0


def test_enrolments_belong_to_a_section_of_their_course(school: Store) -> None:
    query = """
        SELECT count(*) FROM canvas.enrollments e JOIN canvas.course_sections s
        ON s.id = e.course_section_id WHERE s.course_id <> e.course_id
    """
    assert number(school, query) == 0


def test_courses_run_within_their_term(school: Store) -> None:
    query = """
        SELECT count(*) FILTER (c.start_at < t.start_at OR c.conclude_at > t.end_at), count(*)
        FROM canvas.courses c JOIN canvas.enrollment_terms t ON t.id = c.enrollment_term_id
    """
    outside, courses = ask(school, query)[0]
    assert outside == 0
    assert courses == number(school, "SELECT count(*) FROM canvas.courses")


def test_terms_follow_each_other_up_to_the_next_one(school: Store) -> None:
    terms = ask(
        school,
        "SELECT name, start_at, end_at FROM canvas.enrollment_terms WHERE start_at IS NOT NULL"
        " ORDER BY start_at",
    )
    assert [name for name, _, _ in terms][-3:] == ["Summer 2026", "Autumn 2026", "Spring 2027"]
    assert all(end < start for (_, _, end), (_, start, _) in pairwise(terms))


@pytest.mark.parametrize(
    ("table", "parent"),
    [
        ("canvas.accounts", "parent_account_id"),
        ("canvas.discussion_entries", "parent_id"),
        ("canvas.folders", "parent_folder_id"),
        ("canvas.calendar_events", "parent_calendar_event_id"),
        ("canvas.learning_outcome_groups", "learning_outcome_group_id"),
        ("canvas.assignments", "duplicate_of_id"),
        ("catalog.accounts", "parent_id"),
    ],
)
def test_nothing_is_its_own_ancestor(school: Store, table: str, parent: str) -> None:
    # Parents have smaller ids throughout, so no chain of parents can return.
    assert number(school, f"SELECT count(*) FROM {table} WHERE {parent} >= id") == 0
    assert number(school, f"SELECT count({parent}) FROM {table}") > 0


def test_replies_come_after_what_they_reply_to(school: Store) -> None:
    query = """
        SELECT count(*) FROM canvas.discussion_entries e
        JOIN canvas.discussion_entries p ON p.id = e.parent_id
        WHERE e.created_at < p.created_at OR e.discussion_topic_id <> p.discussion_topic_id
    """
    assert number(school, query) == 0


def test_page_views_lie_in_the_last_thirty_days(school: Store) -> None:
    first, last = ask(school, "SELECT min(timestamp), max(timestamp) FROM canvas_logs.web_logs")[0]
    newest = AS_OF.replace(tzinfo=None)
    assert newest - timedelta(days=30) <= first < newest - timedelta(days=29)
    assert newest - timedelta(hours=4) < last <= newest


def test_page_views_are_many_by_day_and_few_by_night(school: Store) -> None:
    hours = dict(
        ask(school, "SELECT hour(timestamp), count(*) FROM canvas_logs.web_logs GROUP BY ALL")
    )
    lectures = sum(hours[hour] for hour in range(10, 16)) / 6
    evening = (hours[20] + hours[21]) / 2
    night = sum(hours.get(hour, 0) for hour in range(1, 6)) / 5
    assert lectures > evening > 5 * night


def test_page_views_are_fewer_at_weekends(school: Store) -> None:
    query = "SELECT count(*) FROM canvas_logs.web_logs WHERE isodow(timestamp) "
    assert number(school, query + "<= 5") / 5 > 2 * number(school, query + "> 5") / 2


def test_numbers_of_a_quiz_agree_with_the_submission_it_belongs_to(school: Store) -> None:
    query = """
        SELECT count(*) FROM canvas.quiz_submissions q
        JOIN canvas.submissions s ON s.id = q.submission_id
        WHERE q.score IS DISTINCT FROM s.score OR q.user_id <> s.user_id
            OR s.quiz_submission_id <> q.id
    """
    assert number(school, query) == 0


def test_an_order_costs_what_its_items_cost(school: Store) -> None:
    query = """
        SELECT count(*) FROM (
            SELECT o.id FROM catalog.orders o JOIN catalog.order_items i ON i.order_id = o.id
            GROUP BY o.id, o.total HAVING sum(i.amount) <> o.total)
    """
    assert number(school, query) == 0


def test_the_statistics_of_an_assignment_are_those_of_its_scores(school: Store) -> None:
    query = """
        SELECT count(*) FROM canvas.score_statistics t JOIN (
            SELECT assignment_id, count(score) AS n, max(score) AS high FROM canvas.submissions
            GROUP BY assignment_id) s ON s.assignment_id = t.assignment_id
        WHERE t.count <> s.n OR t.maximum <> s.high
    """
    assert number(school, query) == 0


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("canvas.users", "name", CANARY.name),
        ("canvas.users", "sortable_name", CANARY.sortable_name),
        ("canvas.users", "short_name", CANARY.short_name),
        ("canvas.pseudonyms", "unique_id", CANARY.login),
        ("canvas.pseudonyms", "sis_user_id", CANARY.sis_user_id),
        ("canvas.pseudonyms", "current_login_ip", CANARY.ip),
        ("canvas.communication_channels", "path", CANARY.email),
        ("canvas.communication_channels", "path", CANARY.phone),
        ("canvas.enrollments", "user_id", CANARY.user_id),
        ("canvas.submissions", "user_id", CANARY.user_id),
        ("canvas_logs.web_logs", "remote_ip", CANARY.ip),
        ("catalog.users", "user_name", CANARY.name),
        ("catalog.users", "email_address", CANARY.email),
    ],
)
def test_the_canary_is_found_in(school: Store, table: str, column: str, value: object) -> None:
    assert number(school, f"SELECT count(*) FROM {table} WHERE {column} = '{value}'") > 0


def test_no_other_person_shares_the_address_of_the_canary(school: Store) -> None:
    query = f"SELECT DISTINCT user_id FROM canvas_logs.web_logs WHERE remote_ip = '{CANARY.ip}'"
    assert ask(school, query) == [(CANARY.user_id,)]


def test_mail_addresses_lead_nowhere(school: Store) -> None:
    for table, column in (
        ("canvas.communication_channels", "path"),
        ("catalog.users", "email_address"),
        ("catalog.orders", "email"),
        ("canvas.developer_keys", "email"),
    ):
        addresses = ask(school, f"SELECT {column} FROM {table} WHERE {column} LIKE '%@%'")
        assert addresses
        assert all(
            address.endswith(("@example.edu", "@example.org", ".example.org"))
            for (address,) in addresses
        )


def test_network_addresses_are_those_kept_for_documentation(school: Store) -> None:
    ranges = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"]
    networks = [ipaddress.ip_network(text) for text in ranges]
    used: set[object] = set()
    for (address,) in ask(school, "SELECT DISTINCT remote_ip FROM canvas_logs.web_logs"):
        homes = [net for net in networks if ipaddress.ip_address(address) in net]
        assert homes, address
        used.update(homes)
    assert used == set(networks)


@pytest.mark.parametrize(
    "nasty", ["\t", "\n", "\r", '"', "\\", ",", "'", "\\N", "🎉", "ש", "م", "\u202e"]
)
def test_texts_hold_what_breaks_careless_readers(school: Store, nasty: str) -> None:
    pattern = nasty.replace("'", "''")
    query = f"SELECT count(*) FROM canvas.submission_comments WHERE contains(comment, '{pattern}')"
    names = f"SELECT count(*) FROM canvas.users WHERE contains(name, '{pattern}')"
    notes = (
        "SELECT count(*) FROM canvas.custom_gradebook_column_data"
        f" WHERE contains(content, '{pattern}')"
    )
    assert sum(number(school, one) for one in (query, names, notes)) > 0


def test_texts_are_sometimes_empty_and_sometimes_cut(school: Store) -> None:
    comments = "SELECT count(*) FROM canvas.submission_comments WHERE comment = "
    assert number(school, comments + "''") > 0
    assert number(school, comments + "'__dap_oversized_truncated__'") > 0


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("canvas.courses", "tab_configuration"),
        ("canvas.assessment_questions", "question_data"),
        ("canvas.grading_standards", "data"),
        ("canvas.context_modules", "completion_requirements"),
        ("canvas.quiz_submissions", "submission_data"),
        ("canvas.rubrics", "data"),
        ("catalog.users", "custom_fields"),
        ("catalog.payments", "purchase_params"),
        ("catalog.products", "allowed_payment_types"),
    ],
)
def test_json_texts_are_json(school: Store, table: str, column: str) -> None:
    texts = ask(school, f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")
    assert texts
    for (text,) in texts:
        json.loads(text)


def test_optional_columns_are_neither_always_nor_never_filled(school: Store) -> None:
    for column in ("lti_context_id", "integration_id", "time_zone", "turnitin_comments"):
        filled, rows = ask(school, f"SELECT count({column}), count(*) FROM canvas.courses")[0]
        assert 0 < filled < rows
