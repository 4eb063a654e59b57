"""Brings rows of different sides into one form, and tells where they differ."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from ipaddress import ip_address
from typing import Any

from dap_pipeline.sandbox.dialect import FieldType, Kind
from dap_pipeline.sandbox.life import Truth

Row = tuple[Any, ...]
Rows = Mapping[Row, Row]
_SHOWN = 5
_ADDRESS = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]+")


def plain(value: Any, kind: FieldType) -> Any:
    """Bring a value into the form in which values are compared.

    * Instants are UTC wall times, since the store and PostgreSQL keep them so.
    * JSON, in whatever text, is what it means.
    * An object with fixed members lacks those that are NULL, and is NULL when all are: DAP's text
      formats cannot tell these apart (its condensed mode writes them all the same).
    * NaN equals itself.
    * UUIDs and addresses are texts.
    """
    if value is None:
        return None
    match kind.kind:
        case Kind.FLOAT:
            number = float(value)
            return "NaN" if math.isnan(number) else number
        case Kind.JSON:
            return json.loads(value) if isinstance(value, str) else value
        case Kind.LIST if kind.item is not None:
            return [plain(item, kind.item) for item in value]
        case Kind.STRUCT:
            return _members(value, kind)
        case Kind.INSTANT | Kind.DATE | Kind.TIME:
            return _moment(value, kind.kind)
        case Kind.TEXT:
            return str(value)
    return value


def _members(value: Any, kind: FieldType) -> Any:
    found = json.loads(value) if isinstance(value, str) else value
    members = {each.name: plain(found.get(each.name), each.type) for each in kind.fields}
    return {name: member for name, member in members.items() if member is not None} or None


def _moment(value: Any, kind: Kind) -> date | time:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, str):
        read = time if kind is Kind.TIME else datetime if kind is Kind.INSTANT else date
        return read.fromisoformat(value.removesuffix("Z"))
    return value  # type: ignore[no-any-return]  # a date or a time already


def plain_row(row: Iterable[Any], kinds: Iterable[FieldType]) -> Row:
    """Bring the values of a row into the form in which they are compared."""
    return tuple(plain(value, kind) for value, kind in zip(row, kinds, strict=True))


def expected(truth: Truth, names: Iterable[str] | None = None) -> Rows:
    """Give the rows of a truth in plain form by key: their values in these fields, else in all."""
    wanted = set(names) if names is not None else {field.name for field in truth.fields}
    kept = [(n, f.type) for n, f in enumerate(truth.fields) if f.name in wanted]
    return {
        plain_row(key, (f.type for f in truth.key)): tuple(plain(row[n], t) for n, t in kept)
        for key, row in truth.rows.items()
    }


def with_addresses(rows: Rows) -> Rows:
    """Write IP addresses as PostgreSQL does, which has a type for them: short, in small letters."""
    return {key: tuple(_address(value) for value in row) for key, row in rows.items()}


def _address(value: Any) -> Any:
    if isinstance(value, str) and _ADDRESS.fullmatch(value):
        with contextlib.suppress(ValueError):
            return str(ip_address(value))
    return value


def differences(found: Rows, wanted: Rows) -> list[str]:
    """Say where the rows differ, a few lines at most."""
    lines = [f"missing: {key}" for key in wanted if key not in found]
    lines += [f"not deleted: {key}" for key in found if key not in wanted]
    for key in found:
        # The types too: True equals 1, and 1.0 as well.
        if key in wanted and _typed(found[key]) != _typed(wanted[key]):
            pairs = zip(found[key], wanted[key], strict=True)
            places = [(n, a, b) for n, (a, b) in enumerate(pairs) if _typed(a) != _typed(b)]
            lines.append(f"{key}: (place, found, wanted) {places}")
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], f"… {len(lines)} in all"]


def _typed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_typed(item) for item in value]
    return (type(value), value)
