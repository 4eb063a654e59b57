"""Keeps what identifies people out of the lake: columns are dropped, hashed or made NULL.

A rule names a column as ``namespace.table.column``, where ``*`` stands for any text, and what is
done to it. Later rules win over earlier ones, and all of them over the ready list of columns that
identify people (``schemas/people.json``). Hashing is HMAC-SHA-256 by the school's key over the
text of the value, so the same value has the same hash in every table and load.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

from pydantic import SecretStr

from dap_pipeline.dap.catalogue import Catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError
from dap_pipeline.lake.coltypes import ColumnType, Kind
from dap_pipeline.lake.columns import Column, Mask, TableShape, shape_of
from dap_pipeline.lake.hashing import fingerprint
from dap_pipeline.lake.mask_rules import (
    WORDS,
    Action,
    MaskRule,
    check_possible,
    parse_rules,
    people_rules,
    wrong,
)
from dap_pipeline.settings import Settings, variable_of

__all__ = ["Action", "MaskRule", "Masking", "people_rules"]

_LOG = logging.getLogger(__name__)

SHORTEST_KEY = 16
"""Characters of the shortest key that is taken."""


@dataclass(frozen=True)
class Masking:
    """What is done to the columns of every table."""

    rules: tuple[MaskRule, ...] = ()
    """The ready list first, if it is on, then the rules of the settings."""
    key: SecretStr = field(default_factory=lambda: SecretStr(""))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the rules; whether they fit the tables is told by ``check`` and ``apply``.

        Raises:
            ConfigurationError: a rule cannot be read, or the key is too short.
        """
        key = settings.mask_key.get_secret_value()
        if key and len(key) < SHORTEST_KEY:
            raise ConfigurationError(
                f"{variable_of('mask_key')} has fewer than {SHORTEST_KEY} characters",
                advice="A short key can be guessed. Make one with "
                "`python3 -c 'import secrets; print(secrets.token_hex(32))'`.",
            )
        return cls.of(settings.mask, people=settings.mask_people, key=settings.mask_key)

    @classmethod
    def of(cls, rules: str, *, people: bool, key: SecretStr | None = None) -> Self:
        """Read rules as the setting has them, after the ready list if ``people`` are masked.

        Raises:
            ConfigurationError: a rule cannot be read.
        """
        ready = people_rules() if people else ()
        return cls((*ready, *parse_rules(rules)), key or SecretStr(""))

    @cached_property
    def needs_key(self) -> bool:
        """Whether a rule hashes."""
        return any(rule.action is Action.HASH for rule in self.rules)

    def check(self, catalogue: Catalogue) -> None:
        """Check the rules of the settings against the known tables, and that a key is there.

        Raises:
            ConfigurationError: a rule names no column or cannot be followed, or the key is missing.
        """
        self._require_key()
        known = [(table.name, table.schema) for table in catalogue.tables]
        for rule in (rule for rule in self.rules if not rule.because):
            columns = [
                column
                for name, schema in known
                if rule.concerns(name)
                for column in shape_of(schema).columns
                if rule.matches(column)
            ]
            if not columns:
                raise wrong(
                    f"the rule {rule} names no column of a known table",
                    "Correct it; if the table is new, run `dap-pipeline refresh-catalogue` with "
                    f"{variable_of('mask')} unset.",
                )
            for column in columns:
                check_possible(rule.action, column)

    def apply(self, name: TableName, shape: TableShape) -> TableShape:
        """Give the shape that the table has in the lake.

        Raises:
            ConfigurationError: a rule names a column that the table does not have, or drops one of
                its key; or the key of hashed columns is missing.
        """
        rules = self._rules_of(name)
        if not rules:
            return shape
        self._check_names(rules, name, shape)
        columns, dropped = [], list(shape.dropped)
        for column in shape.columns:
            rule = _last_match(rules, column)
            if rule is not None and rule.action is Action.DROP:
                dropped.append(column)
            else:
                columns.append(column if rule is None else masked(column, rule.action))
        hashes = any(column.masked is Mask.HASH for column in columns)
        if hashes:
            self._require_key()
        return replace(
            shape,
            columns=tuple(columns),
            dropped=tuple(dropped),
            mask_key=fingerprint(self.key) if hashes else "",
        )

    def shown(self, name: TableName, shape: TableShape) -> TableShape:
        """Give the shape for showing it: without a key, and passing over rules that do not fit."""
        try:
            return replace(self, key=SecretStr("-")).apply(name, shape)
        except ConfigurationError:
            return shape

    def changed_since(self, name: TableName, published: TableShape) -> tuple[str, ...]:
        """Say what about the table's masks differs from the rules, in sentences; empty if nothing.

        A table with a difference must be taken as a snapshot: its rows are of the old rules.
        """
        rules = self._rules_of(name)
        there = [(column, _action_of(column)) for column in published.columns]
        there += [(column, Action.DROP) for column in published.dropped]
        told = []
        hashes = False
        for column, was in there:
            rule = _last_match(rules, column)
            now = Action.KEEP if rule is None else rule.action
            hashes |= now is Action.HASH
            if now is not was:
                told.append(f"{column.name} is {WORDS[now]} and was {WORDS[was]}")
        if not told and hashes and published.mask_key != fingerprint(self.key):
            told.append("the key of hashed columns is another one")
        return tuple(told)

    def _rules_of(self, name: TableName) -> tuple[MaskRule, ...]:
        return tuple(rule for rule in self.rules if rule.concerns(name))

    def _check_names(self, rules: Sequence[MaskRule], name: TableName, shape: TableShape) -> None:
        for rule in (rule for rule in rules if rule.is_exact):
            if any(rule.matches(column) for column in shape.columns):
                continue
            what = f"{name} has no column {rule.column}, which is to be masked"
            if not rule.because:
                raise wrong(
                    f"{what} ({rule.action})", "See its columns in `dap-pipeline schema`."
                ).at(name.namespace, name.table)
            _LOG.warning("%s by the ready list; a column of a new name may need a rule", what)

    def _require_key(self) -> None:
        if self.needs_key and not self.key.get_secret_value():
            raise wrong(
                f"columns are to be hashed and {variable_of('mask_key')} is not set",
                "Make a key with `python3 -c 'import secrets; print(secrets.token_hex(32))'`, put "
                "it into the environment or .env, and keep it: another key gives other hashes.",
            )


def masked(column: Column, action: Action) -> Column:
    """Give a column as it is after a rule that does not drop it.

    Raises:
        ConfigurationError: the column may not be masked so.
    """
    check_possible(action, column)
    if action is Action.KEEP:
        return column
    if action is Action.NULL:
        return replace(column, required=False, masked=Mask.NULL, unmasked=column)
    return replace(
        column,
        type=ColumnType(Kind.TEXT),
        members=(),
        oversized=False,
        masked=Mask.HASH,
        unmasked=column,
    )


def _last_match(rules: Iterable[MaskRule], column: Column) -> MaskRule | None:
    found = None
    for rule in rules:
        if rule.matches(column):
            found = rule
    return found


def _action_of(column: Column) -> Action:
    return Action.KEEP if column.masked is None else Action(column.masked.value)
