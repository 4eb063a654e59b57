"""Reads DAP's JSON Schema dialect: which fields a table has and their DuckDB types."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_INTEGERS = {"int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT"}


class Kind(enum.Enum):
    """What a field holds, as far as writing it out is concerned."""

    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    INSTANT = "instant"
    DATE = "date"
    TIME = "time"
    TEXT = "text"
    JSON = "json"
    STRUCT = "struct"
    LIST = "list"


@dataclass(frozen=True)
class FieldType:
    """The type of a field; `fields` are the members of a struct, `item` that of a list."""

    kind: Kind
    duckdb: str
    fields: tuple[Field, ...] = ()
    item: FieldType | None = None


@dataclass(frozen=True)
class Field:
    """One named field of a key, a value or a nested object."""

    name: str
    type: FieldType
    required: bool


@dataclass(frozen=True)
class TableFields:
    """The key and value fields of a table, in the order of its schema."""

    key: tuple[Field, ...]
    value: tuple[Field, ...]

    @property
    def all(self) -> tuple[Field, ...]:
        """Key fields, then value fields."""
        return self.key + self.value


class SchemaError(ValueError):
    """The JSON Schema uses something that DAP's dialect does not have."""


def table_fields(schema: Mapping[str, Any]) -> TableFields:
    """Read the fields of a table from the `schema` part of a `/schema` answer."""
    properties = schema["properties"]
    value = properties.get("value", {"type": "object", "properties": {}})
    return TableFields(_object_fields(properties["key"], schema), _object_fields(value, schema))


def field_type(node: Mapping[str, Any], root: Mapping[str, Any]) -> FieldType:
    """Read the type of one field; `root` is the whole schema, for `$ref`."""
    node = _resolve(node, root)
    if "oneOf" in node:
        return _one_of(node["oneOf"], root)
    match node.get("type", _type_of_members(node)):
        case "integer":
            return FieldType(Kind.INTEGER, _INTEGERS.get(node.get("format", ""), "BIGINT"))
        case "number":
            return _number(node)
        case "boolean":
            return FieldType(Kind.BOOLEAN, "BOOLEAN")
        case "string":
            return _string(node)
        case "array":
            return _list(node, root)
        case "object":
            return _object(node, root)
        case other:
            raise SchemaError(f"A field of type {other!r} is not part of DAP's dialect.")


def quoted(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def _resolve(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    seen: set[str] = set()
    while (ref := node.get("$ref")) is not None:
        if ref in seen or not ref.startswith("#/"):
            raise SchemaError(f"The reference {ref!r} does not lead to a type.")
        seen.add(ref)
        target: Any = root
        for step in ref.removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def _type_of_members(node: Mapping[str, Any]) -> str | None:
    members = node.get("enum", [node["const"]] if "const" in node else [])
    if members and all(isinstance(member, str) for member in members):
        return "string"
    return "integer" if members and all(isinstance(member, int) for member in members) else None


def _one_of(options: list[Mapping[str, Any]], root: Mapping[str, Any]) -> FieldType:
    kinds = {field_type(option, root) for option in options}
    # A text beside its marker of oversize, or two shapes of one text, is still a text;
    # what has no type in common can only travel as JSON.
    return kinds.pop() if len(kinds) == 1 else FieldType(Kind.JSON, "VARCHAR")


def _number(node: Mapping[str, Any]) -> FieldType:
    if node.get("format") == "float32":
        return FieldType(Kind.FLOAT, "FLOAT")
    digits = _decimal_digits(node)
    if "format" not in node and digits is not None:
        return FieldType(Kind.DECIMAL, f"DECIMAL({digits[0]},{digits[1]})")
    return FieldType(Kind.FLOAT, "DOUBLE")


def _decimal_digits(node: Mapping[str, Any]) -> tuple[int, int] | None:
    """Precision and scale of a number with `multipleOf` and bounds, if DuckDB can hold it."""
    step = node.get("multipleOf")
    inclusive = [abs(Decimal(str(node[name]))) for name in ("minimum", "maximum") if name in node]
    exclusive = [
        abs(Decimal(str(node[name])))
        for name in ("exclusiveMinimum", "exclusiveMaximum")
        if name in node
    ]
    if step is None or len(inclusive) + len(exclusive) < 2:
        return None
    exponent = Decimal(str(step)).normalize().as_tuple().exponent
    scale = max(0, -exponent) if isinstance(exponent, int) else 0
    smallest = Decimal(1).scaleb(-scale)
    largest = max([*inclusive, *(bound - smallest for bound in exclusive)])
    precision = len(str(int(largest))) + scale
    return (precision, scale) if precision <= 38 else None


def _string(node: Mapping[str, Any]) -> FieldType:
    match node.get("format"):
        case "date-time":
            return FieldType(Kind.INSTANT, "TIMESTAMP")
        case "date":
            return FieldType(Kind.DATE, "DATE")
        case "time":
            return FieldType(Kind.TIME, "TIME")
    return FieldType(Kind.TEXT, "VARCHAR")


def _list(node: Mapping[str, Any], root: Mapping[str, Any]) -> FieldType:
    if "items" not in node:
        return FieldType(Kind.JSON, "VARCHAR")
    item = field_type(node["items"], root)
    return FieldType(Kind.LIST, f"{item.duckdb}[]", item=item)


def _object(node: Mapping[str, Any], root: Mapping[str, Any]) -> FieldType:
    if not node.get("properties"):
        return FieldType(Kind.JSON, "VARCHAR")
    fields = _object_fields(node, root)
    members = ", ".join(f"{quoted(field.name)} {field.type.duckdb}" for field in fields)
    return FieldType(Kind.STRUCT, f"STRUCT({members})", fields=fields)


def _object_fields(node: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Field, ...]:
    required = set(node.get("required", []))
    return tuple(
        Field(name, field_type(child, root), name in required)
        for name, child in node.get("properties", {}).items()
    )
