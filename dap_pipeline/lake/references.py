"""Which columns of a table refer to the key of which other tables.

DAP's schemas do not say it; ``schemas/references.json`` does, as far as it is known. DAP does not
promise that what is referred to exists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.columns import TableShape


@dataclass(frozen=True)
class Target:
    """The table and column that a column refers to."""

    table: TableName
    column: str


@dataclass(frozen=True)
class Reference:
    """A column that refers to a table, in all rows or in those whose companion says so."""

    column: str
    target: Target
    type_column: str = ""
    """The companion, such as ``context_type``; empty where every row refers to the same table."""
    members: tuple[str, ...] = ()
    """What the companion says in the rows that refer to the target."""


@lru_cache(maxsize=1)
def all_targets() -> Mapping[TableName, Mapping[str, tuple[Target, ...]]]:
    """Give the tables that each column may refer to, by table and column."""
    text = files("dap_pipeline.schemas").joinpath("references.json").read_text("utf-8")
    return {
        _table(table): {column: tuple(map(_target, found)) for column, found in columns.items()}
        for table, columns in json.loads(text).items()
    }


def targets_of(name: TableName) -> Mapping[str, tuple[Target, ...]]:
    """Give the tables that each column of a table may refer to."""
    return all_targets().get(name, {})


def references_of(name: TableName, shape: TableShape) -> tuple[Reference, ...]:
    """List the references of a published table that its data can tell.

    A column with a companion (``context_id`` with ``context_type``) refers to the table that the
    companion names: in Canvas's words for its classes, such as ``Quizzes::Quiz`` for ``quizzes``.
    It is left out where the companion is missing, masked or has no such member.
    """
    columns = {column.name: column for column in shape.columns}
    found: list[Reference] = []
    for column, targets in targets_of(name).items():
        if column not in columns:
            continue
        companion = columns.get(f"{column.removesuffix('_id')}_type")
        if companion is None:
            found += [Reference(column, target) for target in targets if len(targets) == 1]
            continue
        for target in targets if companion.masked is None else ():
            texts = (member for member in companion.members if isinstance(member, str))
            members = tuple(text for text in texts if table_of_class(text) == target.table.table)
            if members:
                found.append(Reference(column, target, companion.name, members))
    return tuple(found)


def table_of_class(member: str) -> str:
    """Name the table of a class of Canvas: ``course_sections`` for ``CourseSection``."""
    parts = member.removeprefix("Quizzes::").split("::")
    words = "_".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part).lower() for part in parts)
    if words.endswith("y") and words[-2:-1] not in "aeiou":
        return f"{words[:-1]}ies"
    if words.endswith("z"):
        return f"{words}zes"
    return words + ("es" if words.endswith(("s", "x", "ch", "sh")) else "s")


def _table(text: str) -> TableName:
    namespace, _, table = text.partition(".")
    return TableName(namespace, table)


def _target(text: str) -> Target:
    table, _, column = text.rpartition(".")
    return Target(_table(table), column)
