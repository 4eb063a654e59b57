"""Names and texts come through SQL as they are."""

from __future__ import annotations

import duckdb
import pytest

from dap_pipeline.lake.sql import identifier, literal, literals

_ODD = ["plain", "it's", '"quoted"', "", "a\0b", "\\", "né\n", "; DROP TABLE x", "😀", "$1", "{x}"]


@pytest.mark.parametrize("text", _ODD)
def test_a_text_comes_back_as_it_was(text: str) -> None:
    assert duckdb.sql(f"SELECT {literal(text)}").fetchall() == [(text,)]


@pytest.mark.parametrize("name", [name for name in _ODD if name and "\0" not in name])
def test_a_name_comes_back_as_it_was(name: str) -> None:
    query = f"SELECT {identifier(name)} FROM (SELECT 5 AS {identifier(name)})"
    assert duckdb.sql(query).columns == [name]


def test_texts_make_a_list() -> None:
    assert duckdb.sql(f"SELECT {literals(['a', chr(39)])}").fetchall() == [(["a", "'"],)]
