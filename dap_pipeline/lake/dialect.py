"""Reads the type of one field from DAP's dialect of JSON Schema.

What the dialect does not name (an object or array without a fixed inside, a union of different
types, an unknown ``type``) is kept as JSON text: it can hold every value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.coltypes import INSTANT, JSON, TEXT, ColumnType, Kind, Member

MAX_DEPTH = 50
"""Levels of nesting; no table of DAP is known to have more than two."""

OVERSIZED_MARKERS = ("__dap_oversized_truncated__", "__cd2_oversized_truncated__")
"""What DAP puts in place of a text that is too long."""

_INTEGERS = {"int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT"}
_STRINGS = {
    "date-time": INSTANT,
    "date": ColumnType(Kind.DATE, "DATE"),
    "time": ColumnType(Kind.TIME),
    "duration": ColumnType(Kind.DURATION),
    "uuid": ColumnType(Kind.UUID),
    "ipv4": ColumnType(Kind.IP),
    "ipv6": ColumnType(Kind.IP),
}
_MAX_DIGITS = 38

Node = Mapping[str, Any]


def malformed(place: str, what: str) -> MisfitError:
    """Make the error for a schema that cannot be read."""
    return MisfitError(
        f"the schema of the table cannot be read: {place} {what}",
        advice="Look for a newer version of dap_pipeline; Instructure's support can say whether "
        "the schema is right.",
    )


def as_object(node: object, place: str) -> Node:
    """Check that a part of the schema is a JSON object."""
    if not isinstance(node, Mapping):
        raise malformed(place, "is not an object")
    return node


def properties_of(node: Node, place: str) -> Node:
    """Take the properties of an object; each must have a name."""
    properties = as_object(node.get("properties", {}), place)
    if "" in properties:
        raise malformed(place, "has a property without a name")
    return properties


def resolve(node: object, root: Node, place: str) -> Node:
    """Follow ``$ref`` to the type that it names."""
    found = as_object(node, place)
    seen: set[str] = set()
    while "$ref" in found:
        ref = found["$ref"]
        if not isinstance(ref, str) or not ref.startswith("#/"):
            raise malformed(place, f"has the reference {ref!r}, which does not lead into itself")
        if ref in seen:
            raise malformed(place, f"has the reference {ref!r}, which leads back to itself")
        seen.add(ref)
        # What stands beside the reference (a description) is nearer than what it leads to.
        beside = {key: value for key, value in found.items() if key != "$ref"}
        found = {**_target(ref, root, place), **beside}
    return found


def _target(ref: str, root: Node, place: str) -> Node:
    target: object = root
    for step in ref.removeprefix("#/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or name not in target:
            raise malformed(place, f"has the reference {ref!r}, which leads nowhere")
        target = target[name]
    return as_object(target, place)


def column_type(node: object, root: Node, place: str, depth: int = 0) -> ColumnType:
    """Read the type of a field; ``place`` names the field in errors.

    Raises:
        MisfitError: the schema is malformed, or nested without end.
    """
    if depth > MAX_DEPTH:
        raise malformed(place, f"is nested more than {MAX_DEPTH} levels deep")
    field = resolve(node, root, place)
    if "oneOf" in field:
        return _one_of(field["oneOf"], root, place, depth)
    match _type_name(field):
        case "integer":
            return ColumnType(Kind.INTEGER, _INTEGERS.get(_format(field), "BIGINT"))
        case "number":
            return _number(field, place)
        case "boolean":
            return ColumnType(Kind.BOOLEAN, "BOOLEAN")
        case "string" if "enum" in field:
            return ColumnType(Kind.ENUM)
        case "string":
            return _STRINGS.get(_format(field), TEXT)
        case "array":
            return _list(field, root, place, depth)
        case "object":
            return _object(field, root, place, depth)
    return JSON


def _format(field: Node) -> str:
    return str(field.get("format", ""))


def _type_name(field: Node) -> str:
    stated = field.get("type")
    if isinstance(stated, list):
        names = [name for name in stated if name != "null"]
        stated = names[0] if len(names) == 1 else None
    if stated is None:
        stated = _type_of_members(field)
    return stated if isinstance(stated, str) else ""


def _type_of_members(field: Node) -> str | None:
    members = field.get("enum", [field["const"]] if "const" in field else [])
    if not isinstance(members, Sequence) or not members:
        return None
    if all(isinstance(member, str) for member in members):
        return "string"
    whole = all(isinstance(member, int) and not isinstance(member, bool) for member in members)
    return "integer" if whole else None


def options_of(options: object, root: Node, place: str) -> list[Node]:
    """List the options of a ``oneOf``, without the one that only permits null."""
    if not isinstance(options, list) or not options:
        raise malformed(place, "has a oneOf without options")
    found = [resolve(option, root, place) for option in options]
    return [option for option in found if option.get("type") != "null"]


def _one_of(options: object, root: Node, place: str, depth: int) -> ColumnType:
    fields = options_of(options, root, place)
    types = {column_type(field, root, place, depth + 1) for field in fields}
    if len(types) == 1:
        return types.pop()
    # A marker of oversize beside a text, or a text of two formats, is still a text.
    strings = all("oneOf" not in field and _type_name(field) == "string" for field in fields)
    return TEXT if types and strings else JSON


def _number(field: Node, place: str) -> ColumnType:
    if _format(field) == "float32":
        return ColumnType(Kind.FLOAT, "FLOAT")
    if not _format(field) and "multipleOf" in field:
        return _decimal(field, place)
    return ColumnType(Kind.FLOAT, "DOUBLE")


def _decimal(field: Node, place: str) -> ColumnType:
    """Size a decimal by its step and bounds; without bounds, or too wide, it is no decimal."""
    bounds = [
        _exact(field[name], place).copy_abs()
        for name in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        if name in field
    ]
    step = _exact(field["multipleOf"], place).normalize()
    if step <= 0:
        raise malformed(place, "has a multipleOf that is not above zero")
    if len(bounds) < 2:
        return ColumnType(Kind.FLOAT, "DOUBLE")
    exponent = step.as_tuple().exponent
    scale = max(0, -exponent) if isinstance(exponent, int) else 0
    whole = len(str(int(max(bounds))))
    if whole + scale > _MAX_DIGITS:
        return TEXT
    return ColumnType(Kind.DECIMAL, precision=whole + scale, scale=scale)


def _exact(number: object, place: str) -> Decimal:
    try:
        exact = Decimal(str(number))
    except InvalidOperation:
        raise malformed(place, f"has the bound {number!r}, which is not a number") from None
    if not exact.is_finite() or abs(exact.adjusted()) > 1000:
        raise malformed(place, f"has the bound {number!r}, which is out of reason")
    return exact


def _list(field: Node, root: Node, place: str, depth: int) -> ColumnType:
    if not isinstance(field.get("items"), Mapping) or not field["items"]:
        return JSON
    item = column_type(field["items"], root, f"{place}[]", depth + 1)
    return ColumnType(Kind.LIST, item=item)


def _object(field: Node, root: Node, place: str, depth: int) -> ColumnType:
    properties = properties_of(field, place)
    folded = {name.casefold() for name in properties}
    # Neither DuckDB nor Delta can tell members apart that differ by case only.
    if not properties or field.get("additionalProperties") or len(folded) < len(properties):
        return JSON
    members = []
    for name, child in properties.items():
        inner = resolve(child, root, f"{place}.{name}")
        kind = column_type(inner, root, f"{place}.{name}", depth + 1)
        members.append(Member(name, kind, text_of(inner)))
    return ColumnType(Kind.STRUCT, members=tuple(members))


def text_of(field: Node) -> str:
    """Take the description of a field, else its title."""
    text = field.get("description") or field.get("title") or ""
    return text if isinstance(text, str) else ""
