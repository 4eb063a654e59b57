"""The types that a column of a published table can have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dap_pipeline.lake.sql import identifier


class Kind(StrEnum):
    """What a column holds, as the DAP schema means it.

    Several kinds are stored as text, because Delta has no type for them; the kind is kept in the
    metadata of the column as ``dap.type``.
    """

    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    TEXT = "text"
    ENUM = "enum"
    UUID = "uuid"
    IP = "ip"
    INSTANT = "instant"
    DATE = "date"
    TIME = "time"
    DURATION = "duration"
    JSON = "json"
    STRUCT = "struct"
    LIST = "list"


_DELTA_NAMES = {
    "SMALLINT": "short",
    "INTEGER": "integer",
    "BIGINT": "long",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "VARCHAR": "string",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "DATE": "date",
}
_DUCKDB_NAMES = {delta: duckdb for duckdb, delta in _DELTA_NAMES.items()}


@dataclass(frozen=True)
class ColumnType:
    """A type in DuckDB's and Delta's terms.

    ``members`` are those of a struct, ``item`` is the type of a list's elements, ``precision`` and
    ``scale`` belong to a decimal.
    """

    kind: Kind
    base: str = "VARCHAR"
    members: tuple[Member, ...] = ()
    item: ColumnType | None = None
    precision: int = 0
    scale: int = 0

    @property
    def duckdb(self) -> str:
        """The type as DuckDB writes it."""
        if self.kind is Kind.STRUCT:
            inner = ", ".join(f"{identifier(m.name)} {m.type.duckdb}" for m in self.members)
            return f"STRUCT({inner})"
        if self.item is not None:
            return f"{self.item.duckdb}[]"
        if self.kind is Kind.DECIMAL:
            return f"DECIMAL({self.precision},{self.scale})"
        return self.base

    @property
    def delta(self) -> str | dict[str, Any]:
        """The type as Delta's schema JSON writes it."""
        if self.kind is Kind.STRUCT:
            return {"type": "struct", "fields": [m.delta_field() for m in self.members]}
        if self.item is not None:
            return {"type": "array", "elementType": self.item.delta, "containsNull": True}
        if self.kind is Kind.DECIMAL:
            return f"decimal({self.precision},{self.scale})"
        return _DELTA_NAMES[self.base]

    @property
    def label(self) -> str:
        """What the column holds, in one word that Delta's metadata keeps: ``list<uuid>``."""
        return self.kind.value if self.item is None else f"{self.kind}<{self.item.label}>"


@dataclass(frozen=True)
class Member:
    """A member of a struct; it has the name that it has in the DAP schema."""

    name: str
    type: ColumnType
    description: str = ""
    gone: bool = False
    """Whether the table's schema no longer has the member, as for a column."""

    def delta_field(self) -> dict[str, Any]:
        """Describe the member as a field of Delta's schema JSON."""
        metadata = {"dap.type": self.type.label}
        if self.description:
            metadata["comment"] = self.description
        if self.gone:
            metadata["dap.gone"] = "true"
        return {
            "name": self.name,
            "type": self.type.delta,
            "nullable": True,
            "metadata": metadata,
        }


def from_delta(delta: Any, label: str) -> ColumnType:
    """Read a type back from Delta's schema JSON and the label that was kept with it."""
    if isinstance(delta, str):
        digits = re.fullmatch(r"decimal\((\d+),(\d+)\)", delta)
        if digits:
            precision, scale = int(digits[1]), int(digits[2])
            return ColumnType(Kind.DECIMAL, precision=precision, scale=scale)
        return ColumnType(Kind(label), _DUCKDB_NAMES[delta])
    if delta["type"] == "array":
        inner = label.removeprefix(f"{Kind.LIST}<").removesuffix(">")
        return ColumnType(Kind.LIST, item=from_delta(delta["elementType"], inner))
    members = (_member_from_delta(field) for field in delta["fields"])
    return ColumnType(Kind.STRUCT, members=tuple(members))


def _member_from_delta(field: dict[str, Any]) -> Member:
    metadata = field["metadata"]
    kind = from_delta(field["type"], metadata["dap.type"])
    gone = metadata.get("dap.gone") == "true"
    return Member(field["name"], kind, metadata.get("comment", ""), gone)


TEXT = ColumnType(Kind.TEXT)
JSON = ColumnType(Kind.JSON)
INSTANT = ColumnType(Kind.INSTANT, "TIMESTAMP WITH TIME ZONE")
