"""New schema versions of a table: what DAP says may change, and the change of a key."""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from dap_pipeline.sandbox.dialect import field_type, quoted
from dap_pipeline.sandbox.store import StoredTable

DEFAULT_NUMBER = 7
_WIDER = {"int16": "int32", "int32": "int64"}
_DUCKDB = {"int32": "INTEGER", "int64": "BIGINT"}


_NEW_COLUMNS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "string", "maxLength": 255}, "VARCHAR"),
    ({"type": "integer", "format": "int32"}, "INTEGER"),
    ({"type": "string", "format": "date-time"}, "TIMESTAMP"),
    ({"type": "string", "enum": ["new", "old", "__dap_unspecified__"]}, "VARCHAR"),
    ({"type": "number", "format": "float64"}, "DOUBLE"),
)


class Bump(enum.Enum):
    """A way in which a new version differs from the one before."""

    COLUMN_ADDED = "column_added"
    REQUIRED_COLUMN_ADDED = "required_column_added"
    COLUMN_REMOVED = "column_removed"
    INTEGER_WIDENED = "integer_widened"
    TEXT_LENGTHENED = "text_lengthened"
    ENUM_MEMBER_ADDED = "enum_member_added"
    KEY_CHANGED = "key_changed"


@dataclass(frozen=True)
class NewVersion:
    """A new schema, the statements that fit the store to it, and the field that it is about."""

    schema: dict[str, Any]
    field: str
    statements: tuple[str, ...] = ()


@dataclass
class _Draft:
    """A schema being changed."""

    table: StoredTable
    random: Random
    schema: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.schema = copy.deepcopy(self.table.schema)

    @property
    def value(self) -> dict[str, Any]:
        """The `value` part."""
        value: dict[str, Any] = self.schema["properties"].setdefault(
            "value", {"type": "object", "properties": {}, "additionalProperties": False}
        )
        return value

    def pick(self, fits: Callable[[Mapping[str, Any]], bool]) -> str | None:
        """Choose a value field whose node fits."""
        names = [name for name, node in self.value["properties"].items() if fits(node)]
        return self.random.choice(names) if names else None

    def new_name(self, kind: str) -> str:
        """Name a field that no version of the table has had."""
        return f"{kind}_{self.table.version + 1}"

    def added(self, name: str, duckdb: str) -> str:
        """Write the statement that adds a column."""
        return f"ALTER TABLE {self.table.sql_name} ADD COLUMN {quoted(name)} {duckdb}"


def next_version(table: StoredTable, bump: Bump, random: Random) -> NewVersion:
    """Make the next schema of a table.

    Raises:
        ValueError: it has no field that could change so.
    """
    new = _BUMPS[bump](_Draft(table, random))
    if new is None:
        what = bump.value.replace("_", " ")
        raise ValueError(f"{table.namespace}.{table.name} has no field for this: {what}.")
    return new


def redefined(table: StoredTable, name: str, node: dict[str, Any]) -> NewVersion:
    """Make the next schema of a table, in which a field is what this node says."""
    draft = _Draft(table, Random(0))  # noqa: S311  # nothing is drawn
    duckdb, altered = field_type(node, node).duckdb, f"ALTER TABLE {table.sql_name}"
    key = draft.schema["properties"]["key"]["properties"]
    if name in key:
        key[name] = node
        # Nobody can tell the new key of a record that is gone.
        forgotten = f"DELETE FROM {table.sql_name} WHERE meta_action = 'D'"
        cast = f"{altered} ALTER COLUMN {quoted(name)} TYPE {duckdb}"
        return NewVersion(draft.schema, name, (forgotten, cast))
    draft.value["properties"][name] = node
    # The store still has the columns of fields that were removed.
    dropped = f"{altered} DROP COLUMN IF EXISTS {quoted(name)}"
    return NewVersion(draft.schema, name, (dropped, draft.added(name, duckdb)))


def _column_added(draft: _Draft) -> NewVersion:
    name = draft.new_name("added")
    node, duckdb = draft.random.choice(_NEW_COLUMNS)
    draft.value["properties"][name] = {**node, "description": "Added later."}
    return NewVersion(draft.schema, name, (draft.added(name, duckdb),))


def _required_column_added(draft: _Draft) -> NewVersion:
    name = draft.new_name("required")
    node = {"type": "integer", "format": "int32", "default": DEFAULT_NUMBER}
    draft.value["properties"][name] = {**node, "description": "Added later, with a default."}
    draft.value["required"] = [*draft.value.get("required", []), name]
    table, column = draft.table.sql_name, quoted(name)
    # Tombstones hold nothing but their key.
    emptied = f"UPDATE {table} SET {column} = NULL WHERE meta_action = 'D'"
    added = draft.added(name, f"INTEGER DEFAULT {DEFAULT_NUMBER}")
    return NewVersion(draft.schema, name, (added, emptied))


def _column_removed(draft: _Draft) -> NewVersion | None:
    name = draft.pick(lambda _: True)
    if name is None or len(draft.value["properties"]) < 2:
        return None
    del draft.value["properties"][name]
    required = draft.value.get("required", [])
    draft.value["required"] = [each for each in required if each != name]
    if not draft.value["required"]:
        del draft.value["required"]
    # The store keeps the column out of sight: the made-up school goes on filling it.
    return NewVersion(draft.schema, name)


def _integer_widened(draft: _Draft) -> NewVersion | None:
    name = draft.pick(lambda node: node.get("format") in _WIDER and "enum" not in node)
    if name is None:
        return None
    node = draft.value["properties"][name]
    node["format"] = _WIDER[node["format"]]
    altered = (
        f"ALTER TABLE {draft.table.sql_name} ALTER COLUMN {quoted(name)}"
        f" TYPE {_DUCKDB[node['format']]}"
    )
    return NewVersion(draft.schema, name, (altered,))


def _text_lengthened(draft: _Draft) -> NewVersion | None:
    name = draft.pick(lambda node: "maxLength" in node)
    if name is None:
        return None
    draft.value["properties"][name]["maxLength"] *= 2
    return NewVersion(draft.schema, name)


def _enum_member_added(draft: _Draft) -> NewVersion | None:
    name = draft.pick(lambda node: "enum" in node and node.get("type") == "string")
    if name is None:
        return None
    members = draft.value["properties"][name]["enum"]
    # DAP lists its stand-in for unknown members last.
    members.insert(0, draft.new_name("member"))
    return NewVersion(draft.schema, name)


def _key_changed(draft: _Draft) -> NewVersion:
    """Add a field to the key, as when the records of several sources are put into one table."""
    name = draft.new_name("part")
    key = draft.schema["properties"]["key"]
    key["properties"][name] = {"type": "integer", "format": "int64"}
    key["required"] = [*key.get("required", []), name]
    # Nobody can tell the new key of a record that is gone.
    forgotten = f"DELETE FROM {draft.table.sql_name} WHERE meta_action = 'D'"
    added = draft.added(name, "BIGINT DEFAULT 1")
    return NewVersion(draft.schema, name, (added, forgotten))


_BUMPS: Mapping[Bump, Callable[[_Draft], NewVersion | None]] = {
    Bump.COLUMN_ADDED: _column_added,
    Bump.REQUIRED_COLUMN_ADDED: _required_column_added,
    Bump.COLUMN_REMOVED: _column_removed,
    Bump.INTEGER_WIDENED: _integer_widened,
    Bump.TEXT_LENGTHENED: _text_lengthened,
    Bump.ENUM_MEMBER_ADDED: _enum_member_added,
    Bump.KEY_CHANGED: _key_changed,
}
