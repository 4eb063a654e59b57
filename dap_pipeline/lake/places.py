"""Tables as settings name them: ``canvas.users``, a whole namespace, or ``*``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError

_PLACE = re.compile(r"\*|[\w-]+(\.[\w.-]+)?")


def places_of(name: TableName) -> tuple[str, str, str]:
    """Give the ways to name a table in a setting, the most exact one first."""
    return (str(name), name.namespace, "*")


def check_place(text: str, setting: str) -> str:
    """Give the text back if it can name tables.

    Raises:
        ConfigurationError: it cannot.
    """
    if not _PLACE.fullmatch(text):
        raise ConfigurationError(
            f"{setting} names {text!r}",
            advice="Name tables as `canvas.users`, a namespace as `canvas`, all as `*`.",
        )
    return text


@dataclass(frozen=True)
class Places:
    """A choice of tables."""

    texts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str, setting: str) -> Self:
        """Read a list with commas.

        Raises:
            ConfigurationError: a part of it can name no table.
        """
        parts = filter(None, map(str.strip, text.split(",")))
        return cls(frozenset(check_place(part, setting) for part in parts))

    def have(self, name: TableName) -> bool:
        """Tell whether the table is among them."""
        return not self.texts.isdisjoint(places_of(name))
