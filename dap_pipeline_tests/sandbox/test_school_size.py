"""The school at its usual and at a large size."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dap_pipeline.sandbox.school import build_school
from dap_pipeline.sandbox.school.catalogue import shipped_tables
from dap_pipeline.sandbox.store import Store
from dap_pipeline_tests.sandbox.school_rules import dangling_references, number

pytestmark = pytest.mark.slow

AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)


def total_rows(store: Store) -> int:
    return sum(
        number(store, f"SELECT count(*) FROM {table.sql_name}")
        for table in shipped_tables().values()
    )


def test_the_usual_school_has_tables_of_more_than_one_part(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        build_school(store, as_of=AS_OF)
        assert total_rows(store) == pytest.approx(200_000, rel=0.01)
        for table in ("canvas_logs.web_logs", "canvas.submissions"):
            assert number(store, f"SELECT count(*) FROM {table}") > 25_000


def test_a_large_school_is_built_in_little_memory(tmp_path: Path) -> None:
    with Store(tmp_path, memory_limit="200MB") as store:
        build_school(store, rows=2_000_000, as_of=AS_OF)
        assert total_rows(store) == pytest.approx(2_000_000, rel=0.01)
        assert dangling_references(store) == []


def test_an_interrupted_build_is_begun_again(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        table = shipped_tables()["canvas.users"]
        store.create_table(table.namespace, table.short_name, dict(table.schema))
        build_school(store, rows=1, as_of=AS_OF)
        assert number(store, "SELECT count(*) FROM canvas.users") > 50
