"""The rules of masking: what the setting and the ready list say, before any table is looked at."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from importlib.resources import files

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError
from dap_pipeline.lake.columns import Column, Section
from dap_pipeline.settings import variable_of

_FORM = (
    "Write rules as `canvas.users.name=null, catalog.*.email=hash`: a column, or several by `*`, "
    "and drop, hash, null or keep."
)


class Action(StrEnum):
    """What a rule does to a column."""

    DROP = "drop"
    """The table does not have it."""
    HASH = "hash"
    """A text of 64 hexadecimal digits stands for each value."""
    NULL = "null"
    """It is there, and empty."""
    KEEP = "keep"
    """It is published as it is, whatever an earlier rule says."""


@dataclass(frozen=True)
class MaskRule:
    """What is done to the columns that a pattern names."""

    namespace: str
    table: str
    column: str
    action: Action
    because: str = ""
    """Why the column is on the ready list; empty for a rule of the settings."""

    def __str__(self) -> str:
        return f"{self.namespace}.{self.table}.{self.column}={self.action}"

    @property
    def is_exact(self) -> bool:
        """Whether it names one column of one table."""
        return "*" not in f"{self.namespace}{self.table}{self.column}"

    def concerns(self, name: TableName) -> bool:
        """Tell whether it can name a column of the table."""
        return fnmatchcase(name.namespace, self.namespace) and fnmatchcase(name.table, self.table)

    def matches(self, column: Column) -> bool:
        """Tell whether it names the column of a table that it concerns.

        A column that was set aside is still the one that had the name.
        """
        named = fnmatchcase(column.formerly or column.name, self.column)
        return named and (column.section is not Section.META or self.column == column.name)


WORDS = {
    Action.DROP: "dropped",
    Action.HASH: "hashed",
    Action.NULL: "made NULL",
    Action.KEEP: "published as it is",
}


def parse_rules(text: str) -> tuple[MaskRule, ...]:
    """Read rules as the setting has them, apart by commas or line breaks.

    Raises:
        ConfigurationError: one cannot be read.
    """
    rules = (rule.strip() for rule in re.split(r"[,\n]", text))
    return tuple(_parse_rule(rule) for rule in rules if rule)


def people_rules() -> tuple[MaskRule, ...]:
    """Give the ready list of columns that identify people, with a reason for each."""
    listed = json.loads(
        files("dap_pipeline.schemas").joinpath("people.json").read_text(encoding="utf-8")
    )
    return tuple(
        _rule(place.split("."), Action(entry["mask"]), entry["because"])
        for place, entry in listed.items()
    )


def _parse_rule(text: str) -> MaskRule:
    place, _, word = (part.strip() for part in text.partition("="))
    parts = place.split(".")
    if len(parts) != 3 or not all(parts) or word not in set(Action):
        raise wrong(f"the rule {text!r} cannot be read", _FORM)
    return _rule(parts, Action(word))


def _rule(parts: list[str], action: Action, because: str = "") -> MaskRule:
    namespace, table, column = parts
    return MaskRule(namespace, table, column, action, because)


def check_possible(action: Action, column: Column) -> None:
    """Check that a column may be masked so.

    Raises:
        ConfigurationError: it may not.
    """
    if action is Action.KEEP:
        return
    if column.section is Section.META:
        raise wrong(f"{column.name} cannot be masked: loads need it", "Remove the rule.")
    if column.section is Section.KEY and action is not Action.HASH:
        raise wrong(
            f"{column.name} is part of a key and cannot be {WORDS[action]}",
            "Hash it: rows are told apart by it.",
        )


def wrong(what: str, advice: str) -> ConfigurationError:
    """Say what is wrong with the setting."""
    return ConfigurationError(f"{variable_of('mask')}: {what}", advice=advice)
