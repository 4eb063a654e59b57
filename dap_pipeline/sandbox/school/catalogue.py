"""The shipped catalogue as the school needs it: columns, their limits and their references."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from dap_pipeline.sandbox.dialect import FieldType, Kind, field_type

UNSPECIFIED = "__dap_unspecified__"
OVERSIZED = "__dap_oversized_truncated__"


@dataclass(frozen=True)
class Column:
    """One column of a DAP table.

    `members` are those of an enum, `references` the tables that the column's values live in.
    """

    name: str
    type: FieldType
    required: bool
    members: tuple[str | int, ...] = ()
    max_length: int | None = None
    format: str | None = None
    may_be_oversized: bool = False
    references: tuple[str, ...] = ()
    inner: tuple[Column, ...] = ()

    @property
    def plain_members(self) -> tuple[str | int, ...]:
        """The members of the enum without DAP's stand-in for unknown ones, unless it is alone."""
        plain = tuple(member for member in self.members if member != UNSPECIFIED)
        return plain or self.members


@dataclass(frozen=True)
class Table:
    """One DAP table with its shipped schema."""

    name: str
    version: int
    schema: Mapping[str, Any]
    key: Column
    columns: tuple[Column, ...]

    @property
    def namespace(self) -> str:
        """The part of the name before the dot."""
        return self.name.split(".")[0]

    @property
    def short_name(self) -> str:
        """The part of the name after the dot."""
        return self.name.split(".")[1]

    @property
    def sql_name(self) -> str:
        """The quoted name in DuckDB."""
        return f'"{self.namespace}"."{self.short_name}"'

    def column(self, name: str) -> Column | None:
        """Look a value column up."""
        return next((column for column in self.columns if column.name == name), None)


@cache
def shipped_tables() -> dict[str, Table]:
    """Read all tables of the shipped catalogue, by `namespace.table`, sorted."""
    root = resources.files("dap_pipeline.schemas")
    references = shipped_references()
    found = {}
    for folder in root.iterdir():
        if not folder.is_dir():
            continue
        for file in folder.iterdir():
            if file.name.endswith(".json"):
                name = f"{folder.name}.{file.name.removesuffix('.json')}"
                answer = json.loads(file.read_text(encoding="utf-8"))
                found[name] = _table(name, answer, references.get(name, {}))
    return dict(sorted(found.items()))


@cache
def shipped_references() -> dict[str, dict[str, tuple[str, ...]]]:
    """Read the foreign keys: table, column, and the tables whose `id` it holds."""
    text = resources.files("dap_pipeline.schemas").joinpath("references.json").read_text("utf-8")
    return {
        table: {
            column: tuple(target.rsplit(".", 1)[0] for target in targets)
            for column, targets in columns.items()
        }
        for table, columns in json.loads(text).items()
    }


def _table(
    name: str, answer: Mapping[str, Any], references: Mapping[str, tuple[str, ...]]
) -> Table:
    parts = answer["schema"]["properties"]
    (key,) = _columns(parts["key"])
    columns = tuple(
        replace(column, references=references.get(column.name, ()))
        for column in _columns(parts["value"])
    )
    return Table(name, answer["version"], answer["schema"], key, columns)


def _columns(node: Mapping[str, Any]) -> tuple[Column, ...]:
    required = node.get("required", [])
    return tuple(
        _column(name, child, name in required) for name, child in node["properties"].items()
    )


def _column(name: str, node: Mapping[str, Any], required: bool) -> Column:
    kind = field_type(node, node)
    options = [option for option in node.get("oneOf", [node]) if "const" not in option]
    last = options[-1]
    members = tuple(last.get("items", last).get("enum", ()))
    return Column(
        name,
        kind,
        required,
        members=members,
        max_length=last.get("maxLength"),
        format=options[0].get("format"),
        may_be_oversized=len(options) < len(node.get("oneOf", ())),
        inner=_columns(last) if kind.kind is Kind.STRUCT else (),
    )
