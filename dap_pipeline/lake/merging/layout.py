"""Decides which rows become which file when an increment is merged into a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

FILE_BYTES = 64 << 20
"""Bytes that a file of a table should have: good row groups, and little to rewrite."""

# Below this share of the wanted size a file is folded together with others.
_SMALL = 0.5
# Up to this share it may grow before rows are put into a further file.
_FULL = 1.25

KeyValue = int | str


@dataclass(frozen=True)
class BaseFile:
    """One file of the published version, as the Delta log tells of it."""

    path: Path
    rows: int
    bytes: int
    key_min: Mapping[str, KeyValue]
    """Smallest values of the key columns; a column without known bounds is not in it."""
    key_max: Mapping[str, KeyValue]


@dataclass(frozen=True)
class Touched:
    """What the records of an increment do to one file."""

    removed: int = 0
    """Rows that are deleted or replaced."""
    returned: int = 0
    """Rows that replace them in the same file."""


@dataclass(frozen=True)
class Group:
    """Rows that become one file: those of some files, and those with the group's slot."""

    files: tuple[int, ...]
    kept: int
    """Rows that stay as they are."""
    placed: int = 0
    """Rows that the increment brings."""
    inserts: tuple[int, int] | None = None
    """Which of the new rows of the partition, counted in the order of the key."""
    partition: int = 0


@dataclass(frozen=True)
class Layout:
    """All files that are written, each with its slot: the place in ``groups``."""

    groups: tuple[Group, ...]

    @property
    def removed(self) -> list[int]:
        """Numbers of the files that are replaced."""
        return [number for group in self.groups for number in group.files]


@dataclass(frozen=True)
class Facts:
    """What a layout is made from."""

    files: Sequence[BaseFile]
    partitions: Sequence[int]
    """The partition of each file."""
    touched: Mapping[int, Touched]
    """By the number of the file; the others hold no changed row."""
    inserts: Mapping[int, int]
    """New rows of each partition."""
    row_bytes: float
    """Bytes that a new row takes in a file."""
    file_bytes: int
    rewrite_all: bool = False


def lay_out(facts: Facts) -> Layout:
    """Rewrite each touched file by itself, fold small files, and append new rows to a small one.

    So a table has at most two files for each ``file_bytes``, and one more for each partition.
    """
    groups: list[Group] = []
    for partition in sorted({*facts.partitions, *facts.inserts}):
        groups += _of_partition(facts, partition)
    return Layout(tuple(group for group in groups if group.kept + group.placed or group.files))


def _of_partition(facts: Facts, partition: int) -> Iterator[Group]:
    small: list[Group] = []
    for number in (n for n, p in enumerate(facts.partitions) if p == partition):
        file, touched = facts.files[number], facts.touched.get(number)
        change = touched or Touched()
        group = Group((number,), file.rows - change.removed, change.returned, partition=partition)
        if _bytes(facts, group) < facts.file_bytes * _SMALL:
            small.append(group)
        elif touched is not None or facts.rewrite_all:
            yield group
    bins = _folded(facts, small)
    yield from _with_inserts(facts, bins, partition)


def _folded(facts: Facts, small: list[Group]) -> list[Group]:
    """Put small groups together, neighbours by key, as far as they fit into one file."""
    bins: list[Group] = []
    for group in sorted(small, key=lambda each: _order(facts.files[each.files[0]])):
        if bins and _bytes(facts, bins[-1]) + _bytes(facts, group) <= facts.file_bytes:
            bins[-1] = _joined(bins[-1], group)
        else:
            bins.append(group)
    return bins


def _with_inserts(facts: Facts, bins: list[Group], partition: int) -> Iterator[Group]:
    """Append the new rows to the last small file, else to new files."""
    rows = facts.inserts.get(partition, 0)
    first = 0
    if rows and bins:
        room = facts.file_bytes * _FULL - _bytes(facts, bins[-1])
        first = rows if rows * facts.row_bytes <= room else 0
        if first:
            bins[-1] = replace(bins[-1], placed=bins[-1].placed + rows, inserts=(0, rows))
    for group in bins:
        if len(group.files) > 1 or group.inserts or facts.rewrite_all or _is_touched(facts, group):
            yield group
    if rows > first:
        count = max(1, math.ceil(rows * facts.row_bytes / (facts.file_bytes * _FULL)))
        for number in range(count):
            begin, end = rows * number // count, rows * (number + 1) // count
            yield Group((), 0, end - begin, (begin, end), partition)


def _is_touched(facts: Facts, group: Group) -> bool:
    return any(number in facts.touched for number in group.files)


def _joined(one: Group, other: Group) -> Group:
    return replace(
        one,
        files=one.files + other.files,
        kept=one.kept + other.kept,
        placed=one.placed + other.placed,
    )


def _bytes(facts: Facts, group: Group) -> float:
    files = [facts.files[number] for number in group.files]
    rows = sum(file.rows for file in files)
    size = sum(file.bytes for file in files) / rows if rows else facts.row_bytes
    return size * (group.kept + group.placed)


def _order(file: BaseFile) -> tuple[tuple[bool, int, str], ...]:
    """Sort by the smallest key; files without known bounds come first."""
    return tuple(
        (True, value, "") if isinstance(value, int) else (True, 0, str(value))
        for value in file.key_min.values()
    )
