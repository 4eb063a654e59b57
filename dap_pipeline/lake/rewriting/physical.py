"""The types that the values of a part have before they are cast."""

from __future__ import annotations

from dataclasses import dataclass

from dap_pipeline.lake.sql import identifier, literal


@dataclass(frozen=True)
class Physical:
    """A type as DuckDB reads it from a part.

    ``name`` is DuckDB's name of a scalar type, or ``STRUCT``, ``LIST`` or ``MAP``. The type
    ``JSON`` means a parsed JSON value, not a text that holds one.
    """

    name: str
    members: tuple[PhysicalMember, ...] = ()
    item: Physical | None = None

    @property
    def sql(self) -> str:
        """The type as DuckDB writes it; not for MAP."""
        if self.item is not None:
            return f"{self.item.sql}[]"
        if self.members:
            inner = (f"{identifier(m.duckdb_name)} {m.type.sql}" for m in self.members)
            return f"STRUCT({', '.join(inner)})"
        return self.name

    @property
    def is_nested(self) -> bool:
        """Whether it is no scalar."""
        return self.name in ("STRUCT", "LIST", "MAP")

    def member(self, name: str) -> PhysicalMember | None:
        """Look a member of a struct up by its name in the file."""
        return next((member for member in self.members if member.name == name), None)


@dataclass(frozen=True)
class PhysicalMember:
    """A member of a struct; DuckDB renames those that differ by case only."""

    name: str
    duckdb_name: str
    type: Physical

    def of(self, expression: str) -> str:
        """Write the SQL that takes the member out of a struct."""
        return f"struct_extract({expression}, {literal(self.duckdb_name)})"


def pointer(name: str) -> str:
    """Write one step of a JSON pointer."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


@dataclass(frozen=True)
class Found:
    """Where a column's values stand in a part: an SQL expression and its type."""

    sql: str
    type: Physical


VARCHAR = Physical("VARCHAR")
PARSED_JSON = Physical("JSON")
