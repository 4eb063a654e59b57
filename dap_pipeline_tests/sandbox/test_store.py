from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from dap_pipeline.sandbox.store import Store

from . import small_school
from .small_school import COMMITTED_AT, EARLIER, EVERYTHING_SCHEMA, USER_SCHEMA, USERS


def test_a_table_has_its_fields_and_two_columns_of_its_own(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.create_table("canvas", "everything", EVERYTHING_SCHEMA)
        with store.cursor() as cursor:
            rows = cursor.execute("DESCRIBE canvas.everything").fetchall()
    columns = {row[0]: row[1] for row in rows}
    assert list(columns)[:2] == ["id", "label"]
    assert list(columns)[-2:] == ["meta_ts", "meta_action"]
    assert columns["points"] == "DECIMAL(5,2)"
    assert columns["meta_ts"] == "TIMESTAMP"
    assert [row[0] for row in rows if row[2] == "NO"] == ["meta_ts", "meta_action"]


def test_tables_and_schemas_are_found_again(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        small_school.build(store, COMMITTED_AT)
    with Store(tmp_path) as store:
        assert store.namespaces() == ["canvas", "canvas_logs"]
        assert store.tables("canvas") == ["everything", "nothing", "users"]
        assert store.tables("catalog") == []
        table = store.table("canvas", "users")
        assert table is not None
        assert (table.version, table.schema, table.reloaded_at) == (3, USER_SCHEMA, None)
        assert store.table("canvas", "user") is None


def test_the_commit_time_is_that_of_the_newest_record_or_of_the_school(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert store.school_committed_at() is None
        small_school.build(store, COMMITTED_AT)
        store.commit_school(COMMITTED_AT + timedelta(hours=4))
        assert store.committed_at("canvas", "users") == EARLIER
        assert store.committed_at("canvas", "nothing") == COMMITTED_AT + timedelta(hours=4)


def test_a_newer_schema_has_a_newer_version(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.create_table("canvas", "users", USER_SCHEMA, 1)
        store.change_schema("canvas", "users", EVERYTHING_SCHEMA, 2)
        table = store.table("canvas", "users")
        assert table is not None
        assert (table.version, table.schema) == (2, EVERYTHING_SCHEMA)


def test_a_failed_transaction_leaves_nothing_behind(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        small_school.build(store, COMMITTED_AT)
        with pytest.raises(duckdb.ConversionException), store.transaction() as cursor:
            cursor.execute("DELETE FROM canvas.users; SELECT 'x'::INTEGER")
        assert count(store) == USERS


def test_a_steady_cursor_sees_one_state(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        small_school.build(store, COMMITTED_AT)
        with store.steady_cursor() as steady:
            before = steady.execute("SELECT count(*) FROM canvas.users").fetchall()
            small_school.delete(store, "canvas", "users", "id < 10")
            assert steady.execute("SELECT count(*) FROM canvas.users").fetchall() == before
        assert count(store) == USERS - 9


def test_many_threads_may_read_and_write(tmp_path: Path) -> None:
    def work(number: int) -> None:
        new = [small_school.user(number * 100 + each) for each in range(5)]
        small_school.insert(store, "canvas", "users", new)
        counts.append(count(store))

    counts: list[int] = []
    with Store(tmp_path) as store:
        small_school.build(store, COMMITTED_AT)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert count(store) == USERS + 40
    assert len(counts) == 8


def count(store: Store) -> int:
    with store.cursor() as cursor:
        rows = cursor.execute("SELECT count(*) FROM canvas.users").fetchall()
    return int(rows[0][0])
