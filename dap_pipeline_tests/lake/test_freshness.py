"""A table is stale when DAP was not asked for it for too long, however old its data is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError
from dap_pipeline.lake.checked import Checked
from dap_pipeline.lake.freshness import BY_RHYTHM, FreshnessRules, freshness_of
from dap_pipeline.lake.tables import Lake
from dap_pipeline.settings import load_settings

from .loading import hours, publish

USERS = TableName("canvas", "users")
LOGS = TableName("canvas_logs", "web_logs")
QUIZZES = TableName("new_quizzes", "quizzes")


def rules(**settings: str) -> FreshnessRules:
    return FreshnessRules.from_settings(load_settings(**settings))


@pytest.mark.parametrize(
    ("name", "late", "stale"), [(USERS, 8, 12), (QUIZZES, 12, 20), (LOGS, 28, 52)]
)
def test_without_a_setting_the_rhythm_of_dap_decides(
    name: TableName, late: float, stale: float
) -> None:
    assert rules() == BY_RHYTHM
    assert (BY_RHYTHM.late_after(name), BY_RHYTHM.stale_after(name)) == (hours(late), hours(stale))


def test_the_most_exact_setting_holds() -> None:
    found = rules(stale_after="P2D", stale_after_of="canvas=PT6H, canvas.users=P1D")
    assert found.stale_after(USERS) == timedelta(days=1)
    assert found.stale_after(TableName("canvas", "courses")) == hours(6)
    assert found.stale_after(LOGS) == timedelta(days=2)
    assert found.late_after(LOGS) is None


@pytest.mark.parametrize("text", ["canvas", "canvas=soon", "a b=P1D"])
def test_a_rule_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(ConfigurationError, match="DAP_PIPELINE_STALE_AFTER_OF"):
        rules(stale_after_of=text)


def test_the_last_check_counts_and_not_the_age_of_the_data(tmp_path: Path) -> None:
    table = publish(Lake(tmp_path / "lake"), tmp_path, "job-1", [{"a": "x"}])
    checked = Checked(table.load.at, at=table.load.committed_at + timedelta(days=100))
    table = replace(table, checked=checked)
    limit = table.checked_at + hours(12)
    assert not freshness_of(table, BY_RHYTHM, limit).stale
    fresh = freshness_of(table, BY_RHYTHM, limit + timedelta(microseconds=1))
    assert (fresh.stale, fresh.stale_at, fresh.stale_after) == (True, limit, hours(12))
