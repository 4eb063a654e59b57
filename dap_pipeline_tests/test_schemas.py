from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

import dap_pipeline.schemas

ROOT = files(dap_pipeline.schemas)
NAMESPACES = {"canvas": 90, "canvas_logs": 1, "catalog": 28}
UNSPECIFIED = "__dap_unspecified__"
MARKDOWN = re.compile(r"[`*#<>|]|\]\(|__|https?:|\n")


def read_catalogue() -> dict[str, dict[str, Any]]:
    return {
        f"{namespace}.{file.name.removesuffix('.json')}": json.loads(file.read_text("utf-8"))
        for namespace in NAMESPACES
        for file in sorted((ROOT / namespace).iterdir(), key=lambda file: file.name)
    }


CATALOGUE = read_catalogue()
REFERENCES: dict[str, dict[str, list[str]]] = json.loads(
    (ROOT / "references.json").read_text("utf-8")
)


def parts_of(table: str) -> dict[str, Any]:
    parts: dict[str, Any] = CATALOGUE[table]["schema"]["properties"]
    return parts


def columns_of(table: str) -> dict[str, Any]:
    parts = parts_of(table)
    return {**parts["key"]["properties"], **parts["value"]["properties"]}


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema node below one, itself included; a column may be named like a keyword."""
    yield node
    for child in [*node.get("properties", {}).values(), *node.get("oneOf", [])]:
        yield from nodes(child)
    if "items" in node:
        yield from nodes(node["items"])


def texts_of(table: str) -> Iterator[str]:
    for node in nodes(CATALOGUE[table]["schema"]):
        yield from (node[name] for name in ("title", "description") if name in node)


def test_no_table_is_lost() -> None:
    assert Counter(table.split(".")[0] for table in CATALOGUE) == NAMESPACES


@pytest.mark.parametrize("table", CATALOGUE)
def test_every_schema_has_a_version_and_the_three_parts_of_a_record(table: str) -> None:
    assert set(CATALOGUE[table]) == {"schema", "version"}
    assert CATALOGUE[table]["version"] >= 1
    parts = parts_of(table)
    assert list(parts) == ["meta", "key", "value"]
    assert list(parts["meta"]["properties"]) == ["ts", "action"]
    for part in parts.values():
        assert part["additionalProperties"] is False
        assert set(part.get("required", [])) <= set(part["properties"])
    assert set(parts["key"]["required"]) == set(parts["key"]["properties"])
    assert not set(parts["key"]["properties"]) & set(parts["value"]["properties"])


@pytest.mark.parametrize("table", CATALOGUE)
def test_every_text_is_one_plain_sentence(table: str) -> None:
    for text in texts_of(table):
        assert text[0].isupper(), text
        assert text.endswith("."), text
        assert ". " not in text, text
        assert len(text) < 200, text
        assert not MARKDOWN.search(text), text


@pytest.mark.parametrize("table", CATALOGUE)
def test_every_table_says_what_one_row_is(table: str) -> None:
    schema = CATALOGUE[table]["schema"]
    assert schema["description"].startswith("One row per ")
    assert schema["properties"]["value"]["title"] == schema["description"]


def test_nearly_every_column_is_described() -> None:
    described = [
        "description" in column for table in CATALOGUE for column in columns_of(table).values()
    ]
    assert len(described) > 1600
    assert sum(described) / len(described) >= 0.95


@pytest.mark.parametrize("table", CATALOGUE)
def test_kinds_and_states_are_no_numbers_and_their_unknown_member_comes_last(table: str) -> None:
    for name, column in columns_of(table).items():
        for node in column.get("oneOf", [column]):
            if name.endswith(("_type", "_state")):
                assert node["type"] != "integer", name
            if UNSPECIFIED in node.get("enum", []):
                assert node["enum"].index(UNSPECIFIED) == len(node["enum"]) - 1, name
                assert len(set(node["enum"])) == len(node["enum"]), name


@pytest.mark.parametrize("table", REFERENCES)
def test_every_reference_leads_from_a_column_to_a_key_of_a_table(table: str) -> None:
    for column, targets in REFERENCES[table].items():
        assert column in columns_of(table)
        assert targets
        for target in targets:
            namespace, name, key = target.split(".")
            assert key in parts_of(f"{namespace}.{name}")["key"]["properties"]


@pytest.mark.parametrize("table", REFERENCES)
def test_a_described_reference_names_the_table_that_it_leads_to(table: str) -> None:
    columns = columns_of(table)
    for column, targets in REFERENCES[table].items():
        text = columns[column]["description"]
        kind = f"{column.removesuffix('_id')}_type"
        if kind in columns:
            assert f"whose kind is in {kind}" in text, column
        elif len(targets) == 1:
            assert f"refers to {targets[0].removeprefix(table.split('.')[0] + '.')}" in text, column
