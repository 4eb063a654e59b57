from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from pydantic import SecretStr

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError
from dap_pipeline.lake.columns import TableShape, shape_of
from dap_pipeline.lake.diagrams import Shown, draw
from dap_pipeline.lake.mask_rules import parse_rules
from dap_pipeline.lake.masking import Masking

from .making import STRING, shape

pytest.importorskip("pygraphviz", reason="pictures are drawn by pygraphviz")

CATALOGUE = load_catalogue()
SVG = "{http://www.w3.org/2000/svg}"


def tables(*names: str) -> list[tuple[TableName, TableShape]]:
    found = [CATALOGUE.get(TableName("canvas", name)) for name in names]
    return [(table.name, shape_of(table.schema)) for table in found if table]


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()).strip() for node in ET.fromstring(svg).iter(f"{SVG}text")]


def edges(svg: str) -> int:
    groups = ET.fromstring(svg).iter(f"{SVG}g")
    return sum(group.get("class") == "edge" for group in groups)


def test_a_picture_names_tables_keys_and_references_and_counts_the_rest() -> None:
    picture = draw(tables("users", "courses", "enrollments"))
    words = texts(picture.svg)
    assert {"users", "courses", "enrollments", "user_id", "course_id"} <= set(words)
    assert "sortable_name" not in words
    assert "and 21 columns more" in words
    assert picture.tables == 3
    assert picture.references == edges(picture.svg) > 3


def test_all_columns_are_named_on_request() -> None:
    words = texts(draw(tables("users"), shown=Shown.ALL).svg)
    assert {column.name for _, s in tables("users") for column in s.columns} <= set(words)


def test_what_lies_outside_of_the_selection_gets_no_edge() -> None:
    assert draw(tables("pseudonyms")).references == 0


def test_a_masked_column_says_so() -> None:
    [(name, plain)] = tables("users")
    masking = Masking(parse_rules("*.*.name=null,*.*.uuid=hash"), SecretStr("k" * 16))
    words = texts(draw([(name, masking.apply(name, plain))], shown=Shown.ALL).svg)
    assert "text, empty" in words
    assert "text, hashed" in words


def test_the_same_tables_give_the_same_file() -> None:
    assert draw(tables("users", "courses")).svg == draw(tables("users", "courses")).svg


def test_names_of_any_kind_are_drawn_as_they_are() -> None:
    odd = '<b>&"x"\\'
    picture = draw([(TableName("canvas", "odd"), shape({odd: STRING}))], shown=Shown.ALL)
    assert odd in texts(picture.svg)


@pytest.mark.parametrize("namespace", CATALOGUE.namespaces)
def test_a_whole_namespace_can_be_drawn(namespace: str) -> None:
    whole = [
        (t.name, shape_of(t.schema)) for t in CATALOGUE.tables if t.name.namespace == namespace
    ]
    picture = draw(whole)
    assert picture.tables == len(whole)
    assert edges(picture.svg) == picture.references


def test_without_the_library_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'dap-pipeline\[diagrams\]'"):
        draw(tables("users"))
