"""Gives every column a name of its own, where the fields of a schema do not have one."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def own_names(fields: Sequence[tuple[str, str]], reserved: Sequence[str]) -> list[str]:
    """Name columns after their fields, each given with the section that it stands in.

    DuckDB and Delta take names that differ by case only for one. The first field of such a group
    keeps its name; the others get their section as a suffix, then a number.
    """
    taken = {name.casefold() for name in reserved}
    keeps = []
    for name, _ in fields:
        keeps.append(name.casefold() not in taken)
        taken.add(name.casefold())
    names = []
    for (name, section), keeps_name in zip(fields, keeps, strict=True):
        own = name if keeps_name else free_name(f"{name}_{section}", taken)
        taken.add(own.casefold())
        names.append(own)
    return names


def free_name(base: str, taken: Collection[str]) -> str:
    """Give a name that is not among the casefolded ones that are taken."""
    name, number = base, 2
    while name.casefold() in taken:
        name = f"{base}_{number}"
        number += 1
    return name
