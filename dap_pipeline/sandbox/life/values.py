"""Values drawn at random that fit a field of a JSON schema, written as SQL."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from dap_pipeline.sandbox.dialect import Field, FieldType, Kind, field_type, literal, table_fields

_START = datetime(2015, 1, 1)
_MICROSECONDS = 12 * 365 * 86_400 * 1_000_000
_LONGEST = 60
_NULL_SHARE = 0.25
# Characters that have a meaning in one of the formats, and some of other scripts.
_LETTERS = "abcdefghij KLMNOP 0123456789 äßéñ шדمは 🎓 \t\n\r\"'\\,;{}[]<>&%N"
_EXTREMES = {
    "SMALLINT": (-(2**15), 2**15 - 1),
    "INTEGER": (-(2**31), 2**31 - 1),
    "BIGINT": (-(2**63), 2**63 - 1),
}
_FLOATS = ("0.0", "-0.5", "1e300", "5e-324", "'NaN'", "'Infinity'", "'-Infinity'")


@dataclass(frozen=True)
class Draw:
    """Where values come from; `extreme` ones are the smallest and largest of their types too."""

    random: Random
    extreme: bool = False


@dataclass(frozen=True)
class DrawnField:
    """A field, and its node of the JSON schema, from which values are drawn."""

    field: Field
    node: Mapping[str, Any]

    def value(self, draw: Draw) -> str:
        """Write a value that fits, or NULL where the field may be NULL."""
        if not self.field.required and draw.random.random() < _NULL_SHARE:
            return "NULL"
        return f"CAST({_value(self.node, draw)} AS {self.field.type.duckdb})"


def drawn_fields(schema: Mapping[str, Any], section: str) -> list[DrawnField]:
    """Pair the fields of `key` or `value` with their nodes."""
    fields = table_fields(schema)
    nodes = schema["properties"].get(section, {}).get("properties", {})
    known = fields.key if section == "key" else fields.value
    return [DrawnField(field, nodes[field.name]) for field in known]


def key_value(kind: FieldType, node: Mapping[str, Any], number: int) -> str:
    """Write the key value with this number: other numbers give other values, in no order of text.

    A key that is a UUID is one, any other text has a quote in it.
    """
    if kind.kind is Kind.TEXT:
        if node.get("format") == "uuid":
            return literal(
                str(uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128))
            )
        return literal(f"it's {number * 7919 % 10_007} of {number}")
    return str(number)


def _value(node: Mapping[str, Any], draw: Draw) -> str:
    if "oneOf" in node:
        return _value(draw.random.choice(node["oneOf"]), draw)
    if "const" in node:
        return _constant(node["const"])
    if "enum" in node:
        return _constant(draw.random.choice(node["enum"]))
    kind = field_type(node, node)
    if kind.kind is Kind.STRUCT:
        return _struct(node, kind, draw)
    if kind.kind is Kind.LIST:
        items = [_value(node["items"], draw) for _ in range(draw.random.randrange(4))]
        return f"[{', '.join(items)}]"
    return _scalar(node, kind, draw)


def _constant(value: str | int) -> str:
    return literal(value) if isinstance(value, str) else str(value)


def _struct(node: Mapping[str, Any], kind: FieldType, draw: Draw) -> str:
    members = [
        f"{literal(each.name)}: {DrawnField(each, node['properties'][each.name]).value(draw)}"
        for each in kind.fields
    ]
    return "{" + ", ".join(members) + "}"


def _scalar(node: Mapping[str, Any], kind: FieldType, draw: Draw) -> str:
    match kind.kind:
        case Kind.INTEGER:
            return str(_integer(kind, draw))
        case Kind.FLOAT:
            usual = repr(draw.random.gauss(0, 1e4))
            return draw.random.choice([*_FLOATS, *[usual] * 7]) if draw.extreme else usual
        case Kind.DECIMAL:
            digits, scale = kind.duckdb.removeprefix("DECIMAL(").rstrip(")").split(",")
            largest = 10 ** int(digits) - 1
            return f"{draw.random.randint(-largest, largest)}e-{scale}"
        case Kind.BOOLEAN:
            return draw.random.choice(["true", "false"])
        case Kind.INSTANT:
            return f"'{_instant(draw).isoformat(sep=' ')}'"
        case Kind.DATE:
            return f"'{_instant(draw).date().isoformat()}'"
        case Kind.TIME:
            return f"'{_instant(draw).time().isoformat()}'"
        case Kind.JSON:
            return literal(_document(draw))
        case _:
            return literal(_text(node, draw))


def _integer(kind: FieldType, draw: Draw) -> int:
    usual = draw.random.randint(0, 999)
    if not draw.extreme:
        return usual
    low, high = _EXTREMES[kind.duckdb]
    return draw.random.choice([low, high, 0, usual, draw.random.randint(low, high)])


def _instant(draw: Draw) -> datetime:
    return _START + timedelta(microseconds=draw.random.randrange(_MICROSECONDS))


def _document(draw: Draw) -> str:
    return json.dumps(
        {"a": draw.random.choice([None, 1.5, "x\ny", [1, {}]]), "b": draw.random.random()}
    )


def _text(node: Mapping[str, Any], draw: Draw) -> str:
    match node.get("format"):
        case "uuid":
            return str(uuid.UUID(int=draw.random.getrandbits(128), version=4))
        case "ipv4":
            return ".".join(str(draw.random.randrange(256)) for _ in range(4))
        case "ipv6":
            return ":".join(f"{draw.random.randrange(1, 65_536):x}" for _ in range(8))
        case "duration":
            return f"P{draw.random.randrange(1, 99)}DT{draw.random.randrange(24)}H"
    # Now and then as long as the field allows: a length that grew must arrive.
    longest = node.get("maxLength", _LONGEST)
    full = draw.random.random() < 0.05
    length = longest if full else draw.random.randrange(min(longest, _LONGEST) + 1)
    return "".join(draw.random.choices(_LETTERS, k=length))
