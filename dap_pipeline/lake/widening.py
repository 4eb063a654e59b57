"""Compares two types of a column: whether every value of the one fits the other.

Only exact steps count as widening: a whole number of 64 bits does not fit a DOUBLE.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

from dap_pipeline.lake.coltypes import ColumnType, Kind, Member


class TypeChange(Enum):
    """How a type changed."""

    NONE = auto()
    WIDENED = auto()
    NARROWED = auto()
    OTHER = auto()


_WIDER = {
    "SMALLINT": {"INTEGER", "BIGINT", "FLOAT", "DOUBLE"},
    "INTEGER": {"BIGINT", "DOUBLE"},
    "FLOAT": {"DOUBLE"},
}
_DIGITS = {"SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}
# JSON is not among them: as JSON a text has quotes around it.
_TEXTS = {Kind.TEXT, Kind.ENUM, Kind.UUID, Kind.IP, Kind.TIME, Kind.DURATION}


def compare_types(before: ColumnType, after: ColumnType) -> TypeChange:
    """Tell how a type that is neither struct nor list changed; for those, NONE or OTHER."""
    if before == after:
        return TypeChange.NONE
    if fits(before, after):
        return TypeChange.WIDENED
    return TypeChange.NARROWED if fits(after, before) else TypeChange.OTHER


def fits(narrow: ColumnType, wide: ColumnType) -> bool:
    """Tell whether every value of one plain type can be stored as another without a change."""
    if wide.kind is Kind.TEXT:
        return narrow.kind in _TEXTS
    if wide.kind is Kind.DECIMAL:
        return _fits_decimal(narrow, wide)
    return _is_number(narrow) and _is_number(wide) and wide.base in _WIDER.get(narrow.base, ())


def _is_number(kind: ColumnType) -> bool:
    return kind.kind in (Kind.INTEGER, Kind.FLOAT)


def _fits_decimal(narrow: ColumnType, wide: ColumnType) -> bool:
    whole = wide.precision - wide.scale
    if narrow.kind is Kind.DECIMAL:
        return narrow.scale <= wide.scale and narrow.precision - narrow.scale <= whole
    return narrow.kind is Kind.INTEGER and _DIGITS.get(narrow.base, 99) <= whole


def wider_type(before: ColumnType, after: ColumnType) -> ColumnType | None:
    """Give the type that holds the values of both; None if neither can hold the other's.

    Structs keep the members of both. A member that is gone does not come back as the same one.
    """
    if before == after:
        return after
    if before.kind is after.kind is Kind.STRUCT:
        return _wider_struct(before, after)
    if before.item is not None and after.item is not None:
        item = wider_type(before.item, after.item)
        return None if item is None else replace(after, item=item)
    if Kind.STRUCT in (before.kind, after.kind) or Kind.LIST in (before.kind, after.kind):
        return None
    if fits(before, after):
        return after
    return before if fits(after, before) else None


def _wider_struct(before: ColumnType, after: ColumnType) -> ColumnType | None:
    old = {member.name: member for member in before.members}
    members: list[Member] = []
    for member in after.members:
        was = old.get(member.name)
        kind = member.type if was is None else wider_type(was.type, member.type)
        came_back = was is not None and was.gone and not member.gone
        if kind is None or came_back:
            return None
        members.append(replace(member, type=kind))
    names = {member.name for member in after.members}
    kept = [replace(member, gone=True) for name, member in old.items() if name not in names]
    folded = [member.name.lower() for member in (*members, *kept)]
    if len(set(folded)) < len(folded):
        return None
    return replace(after, members=(*members, *kept))
