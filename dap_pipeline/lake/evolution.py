"""Tells what changed between two shapes of a table, and which shape holds the rows of both.

A column is the same one as long as its name is the same; one that was removed and has come back is
another. Members of structs are named with dots
and the elements of lists with brackets: ``settings.public``, ``tags[]``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from dap_pipeline.errors import SchemaConflictError
from dap_pipeline.lake.coltypes import ColumnType, Kind, Member
from dap_pipeline.lake.columns import Column, Mask, TableShape
from dap_pipeline.lake.naming import free_name
from dap_pipeline.lake.widening import TypeChange, compare_types, wider_type

__all__ = [
    "ShapeChange",
    "What",
    "changes_between",
    "merged_shape",
    "names_between",
    "names_kept",
    "set_aside",
]


class What(StrEnum):
    """What about a column or table changed."""

    ADDED = "added"
    REMOVED = "removed"
    WIDENED = "widened"
    NARROWED = "narrowed"
    TYPE = "type"
    REQUIRED = "required"
    OPTIONAL = "optional"
    MEMBERS = "members"
    OVERSIZED = "oversized"
    KEPT = "kept"
    KEY = "key"
    DESCRIPTION = "description"


_BY_TYPE_CHANGE = {
    TypeChange.WIDENED: What.WIDENED,
    TypeChange.NARROWED: What.NARROWED,
    TypeChange.OTHER: What.TYPE,
}
_SENTENCES = {
    What.ADDED: "{column} was added as {after}",
    What.REMOVED: "{column}, which was {before}, was removed",
    What.WIDENED: "{column} was widened from {before} to {after}",
    What.NARROWED: "{column} was narrowed from {before} to {after}",
    What.TYPE: "{column} changed its type from {before} to {after}",
    What.REQUIRED: "{column} became required",
    What.OPTIONAL: "{column} is no longer required",
    What.MEMBERS: "{column} permits {after} instead of {before}",
    What.OVERSIZED: "{column} {after} stand for too long texts by a marker",
    What.KEPT: "{column} begins anew, and what it held before is kept as {after}",
    What.KEY: "the key changed from ({before}) to ({after})",
    What.DESCRIPTION: "{column} is described anew",
}


@dataclass(frozen=True)
class ShapeChange:
    """One difference between two schema versions of a table."""

    column: str
    """The column, or a member of it; empty where the table as a whole is meant."""
    what: What
    before: str
    after: str
    from_version: int
    to_version: int

    @property
    def harmless(self) -> bool:
        """Whether only words changed: no query can tell the difference."""
        return self.what is What.DESCRIPTION

    def __str__(self) -> str:
        """Say it in one sentence, with both schema versions."""
        subject = f"column {self.column}" if self.column else "the table"
        words = _SENTENCES[self.what].format(
            column=subject, before=self.before or "nothing", after=self.after or "nothing"
        )
        return (
            f"{words[:1].upper()}{words[1:]} (schema version {self.from_version} to"
            f" {self.to_version})."
        )


@dataclass(frozen=True)
class _Difference:
    column: str
    what: What
    before: str = ""
    after: str = ""


def changes_between(before: TableShape, after: TableShape) -> tuple[ShapeChange, ...]:
    """List every difference, in the order of the columns; the order itself is none.

    A column that was kept for its older rows only counts as not there any more. After an increment
    in a new schema the published shape is wider than that schema (``merged_shape``), so this is
    worth asking only where the schema versions differ.
    """
    versions = (before.schema_version, after.schema_version)
    return tuple(
        ShapeChange(d.column, d.what, d.before, d.after, *versions)
        for d in _differences(before, after)
    )


def _differences(before: TableShape, after: TableShape) -> Iterator[_Difference]:
    if before.key != after.key:
        yield _Difference("", What.KEY, ", ".join(before.key), ", ".join(after.key))
    if before.description != after.description:
        yield _Difference("", What.DESCRIPTION, before.description, after.description)
    old = {c.name: c for c in before.columns if not c.gone}
    new = {c.name: c for c in after.columns if not c.gone}
    for name, column in new.items():
        if name in old:
            yield from _of_column(old[name], column)
        else:
            yield _Difference(name, What.ADDED, after=_typed(column.type))
    for name, column in old.items():
        if name not in new:
            yield _Difference(name, What.REMOVED, before=_typed(column.type))


def _of_column(old: Column, new: Column) -> Iterator[_Difference]:
    name = new.name
    if _field_of(old) != _field_of(new):
        yield _Difference(name, What.TYPE, *(f"the field {_field_of(c)}" for c in (old, new)))
    yield from _of_type(name, old.type, new.type)
    if old.required != new.required:
        yield _Difference(name, What.REQUIRED if new.required else What.OPTIONAL)
    if _members_of(old) != _members_of(new):
        yield _Difference(name, What.MEMBERS, *_lists(old, new))
    if old.oversized != new.oversized:
        words = {True: "may", False: "may not"}
        yield _Difference(name, What.OVERSIZED, words[old.oversized], words[new.oversized])
    if old.description != new.description:
        yield _Difference(name, What.DESCRIPTION, old.description, new.description)


def _of_type(path: str, old: ColumnType, new: ColumnType) -> Iterator[_Difference]:
    if old.kind is new.kind is Kind.STRUCT:
        yield from _of_members(path, old.members, new.members)
    elif old.item is not None and new.item is not None:
        yield from _of_type(f"{path}[]", old.item, new.item)
    elif (change := compare_types(old, new)) is not TypeChange.NONE:
        yield _Difference(path, _BY_TYPE_CHANGE[change], _typed(old), _typed(new))


def _of_members(
    path: str, old: tuple[Member, ...], new: tuple[Member, ...]
) -> Iterator[_Difference]:
    before, after = ({m.name: m for m in members if not m.gone} for members in (old, new))
    for name, member in after.items():
        place = f"{path}.{name}"
        if name not in before:
            yield _Difference(place, What.ADDED, after=_typed(member.type))
            continue
        yield from _of_type(place, before[name].type, member.type)
        words = (before[name].description, member.description)
        if words[0] != words[1]:
            yield _Difference(place, What.DESCRIPTION, *words)
    for name, member in before.items():
        if name not in after:
            yield _Difference(f"{path}.{name}", What.REMOVED, before=_typed(member.type))


def _typed(kind: ColumnType) -> str:
    """Name a type by what is stored and, where that says more, by what it means."""
    stored = kind.duckdb
    told_by_storage = kind.base != "VARCHAR" or kind.kind in (Kind.TEXT, Kind.STRUCT, Kind.DECIMAL)
    return stored if told_by_storage or kind.item is not None else f"{stored} ({kind.label})"


def _field_of(column: Column) -> str:
    return f"{column.section}.{column.source}"


def _members_of(column: Column) -> frozenset[tuple[type, str | int]]:
    # Apart by type: 1 and "1" are different values, and 1 == True.
    return frozenset((type(member), member) for member in column.members)


def _lists(old: Column, new: Column) -> tuple[str, str]:
    before, after = (", ".join(map(str, c.members)) or "any value" for c in (old, new))
    return before, after


def merged_shape(before: TableShape, after: TableShape) -> TableShape:
    """Give the shape of a table that holds rows of both: after an increment in a new schema.

    It has the new schema's columns, the wider type where types differ, and at the end, before
    ``meta_ts``, the columns and struct members that the new schema lacks. They stay until the next
    snapshot. Enumerations permit the values of both.

    Raises:
        SchemaConflictError: the key, a type or the field of a column differs beyond that, a column
            that was removed has come back, or the settings mask or drop other columns than those of
            the published rows.
    """
    _check_masks(before, after)
    if before.key != after.key:
        raise _conflict(before, after, f"the key was ({_of(before)}) and is ({_of(after)})")
    old = {c.name: c for c in before.columns}
    new = {c.name: c for c in after.columns}
    _check_names(before, after)
    merged = [
        _both(before, after, old[name], c) if name in old else replace(c, lacking=c.required)
        for name, c in new.items()
    ]
    kept = [replace(c, gone=True) for name, c in old.items() if name not in new]
    return replace(after, columns=(*merged[:-1], *kept, merged[-1]))


def _check_masks(before: TableShape, after: TableShape) -> None:
    old, new = ({c.name: c.masked for c in shape.columns} for shape in (before, after))
    other = {name for name in old.keys() & new.keys() if old[name] is not new[name]}
    for columns, shape in ((old, after), (new, before)):
        other |= columns.keys() & {column.name for column in shape.dropped}
    if (
        Mask.HASH in old.values()
        and Mask.HASH in new.values()
        and before.mask_key != after.mask_key
    ):
        other |= {name for name, mask in new.items() if mask is Mask.HASH}
    if other:
        words = f"column {', '.join(sorted(other))} was masked by other settings"
        raise _conflict(before, after, words)


def _of(shape: TableShape) -> str:
    return ", ".join(shape.key)


def _check_names(before: TableShape, after: TableShape) -> None:
    """Refuse names that differ by case only: Delta, and DuckDB, hold them for one."""
    names = {column.name.lower(): column.name for column in after.columns}
    for column in before.columns:
        other = names.get(column.name.lower(), column.name)
        if other != column.name:
            raise _conflict(before, after, f"column {column.name} is now written {other}")


def set_aside(before: TableShape, after: TableShape, *, never: Collection[str]) -> TableShape:
    """Give the published shape with other names for columns that cannot be one with the new ones.

    So ``merged_shape`` keeps both, where no snapshot could bring the older rows again: the older
    values under the other name, and the new column, which is NULL in older rows.

    Args:
        before: shape of the published version.
        after: shape that DAP's schema of the new job has.
        never: columns that the table cannot do without; they keep their names, as the key does.
    """
    new = {column.name.casefold(): column for column in after.columns}
    taken = {column.name.casefold() for column in (*before.columns, *after.columns)}
    columns = []
    for column in before.columns:
        other = new.get(column.name.casefold())
        fixed = column.name in never or column.name in before.key
        if other is None or fixed or not _in_the_way(column, other):
            columns.append(column)
            continue
        name = free_name(f"{column.name}_before_v{after.schema_version}", taken)
        taken.add(name.casefold())
        first = column.formerly or column.name
        columns.append(replace(column, name=name, gone=True, formerly=first))
    return replace(before, columns=tuple(columns))


def names_between(before: TableShape, named: TableShape) -> dict[str, str]:
    """Give the new name of each column that ``set_aside`` has named otherwise."""
    pairs = zip(before.columns, named.columns, strict=True)
    return {old.name: new.name for old, new in pairs if old.name != new.name}


def names_kept(before: TableShape, named: TableShape, after: TableShape) -> tuple[ShapeChange, ...]:
    """Tell under which names columns are kept that ``set_aside`` has named otherwise."""
    versions = (before.schema_version, after.schema_version)
    return tuple(
        ShapeChange(old, What.KEPT, "", new, *versions)
        for old, new in names_between(before, named).items()
    )


def _in_the_way(old: Column, new: Column) -> str:
    """Say why a published column and one of the new schema cannot be one; empty if they can."""
    if old.name != new.name:
        return f"column {old.name} is now written {new.name}"
    if _field_of(old) != _field_of(new):
        return f"column {new.name} held the field {_field_of(old)} and holds {_field_of(new)}"
    if old.gone and not new.gone:
        return f"column {new.name} was removed and has come back"
    types = _typed(old.type), _typed(new.type)
    if wider_type(old.type, new.type) is not None:
        return ""
    if types[0] == types[1]:
        return f"a member of column {new.name} was removed and has come back"
    return f"column {new.name} was {types[0]} and is {types[1]}"


def _both(before: TableShape, after: TableShape, old: Column, new: Column) -> Column:
    kind = wider_type(old.type, new.type)
    if kind is None or _in_the_way(old, new):
        raise _conflict(before, after, _in_the_way(old, new))
    is_open = not old.members or not new.members
    members = () if is_open else tuple(dict.fromkeys((*new.members, *old.members)))
    return replace(
        new,
        type=kind,
        members=members,
        oversized=old.oversized or new.oversized,
        lacking=new.required and (old.lacking or not old.required),
    )


def _conflict(before: TableShape, after: TableShape, words: str) -> SchemaConflictError:
    versions = f"schema version {before.schema_version} to {after.schema_version}"
    return SchemaConflictError(f"an increment cannot be added: {words} ({versions})")
