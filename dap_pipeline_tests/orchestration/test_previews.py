from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.mask_rules import parse_rules
from dap_pipeline.lake.masking import Masking
from dap_pipeline.lake.tables import Lake
from dap_pipeline.orchestration.previews import preview_metadata, preview_of
from dap_pipeline.settings import load_settings
from dap_pipeline_tests.lake.loading import publish
from dap_pipeline_tests.lake.making import STRING, shape

NAME = TableName("canvas", "courses")
VALUES = [{"a": "one|two\nthree <b>*x*</b>"}, {"a": "x" * 100}, {}, {"a": "fourth"}]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_rows_are_off_until_they_are_asked_for(lake: Lake, tmp_path: Path) -> None:
    assert load_settings().preview_rows == 0
    table = publish(lake, tmp_path, "job", VALUES, table=shape({"a": STRING}))
    assert preview_metadata(table, 0) == {}


def test_an_empty_table_has_none(lake: Lake, tmp_path: Path) -> None:
    table = publish(lake, tmp_path, "job", [], table=shape({"a": STRING}))
    assert preview_metadata(table, 5) == {}


def test_as_many_rows_are_shown_as_asked_and_no_mark_of_markdown_is_left(
    lake: Lake, tmp_path: Path
) -> None:
    table = publish(lake, tmp_path, "job", VALUES, table=shape({"a": STRING}))
    text = preview_of(table, 3)
    lines = text.splitlines()
    assert lines[0] == "| id | a | meta\\_ts |"
    assert len(lines) == 2 + 3
    assert "one\\|two three \\<b\\>\\*x\\*\\</b\\>" in text
    assert f"{'x' * 59}…" in text
    assert "fourth" not in text


def test_a_masked_column_shows_its_mask(lake: Lake, tmp_path: Path) -> None:
    masking = Masking(parse_rules("*.*.a=null"), SecretStr(""))
    masked = masking.apply(NAME, shape({"a": STRING}))
    table = publish(lake, tmp_path, "job", [{"a": "of a person"}], table=masked)
    assert "of a person" not in preview_of(table, 5)


def test_a_wide_table_is_cut_and_says_so(lake: Lake, tmp_path: Path) -> None:
    wide = shape({f"c{number}": STRING for number in range(40)})
    table = publish(lake, tmp_path, "job", [{"c0": "x"}], table=wide)
    assert preview_of(table, 1).endswith("and 17 columns more")
