"""What may change about a table's schema: the rules of a school, and what they say to a change.

Rules are written ``canvas=warn,canvas.users=freeze``: the most exact one holds, ``*`` means all
tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError, ContractError
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.evolution import ShapeChange, changes_between
from dap_pipeline.lake.places import check_place, places_of

_SETTING = "DAP_PIPELINE_CONTRACT"


class Contract(StrEnum):
    """What happens when the schema of a table changes."""

    EVOLVE = "evolve"
    """The table follows."""
    WARN = "warn"
    """The table follows, and its check of the schema fails with a warning."""
    FREEZE = "freeze"
    """The load fails, and the old version stays published."""


@dataclass(frozen=True)
class Contracts:
    """The contract of every table."""

    rules: Mapping[str, Contract] = field(default_factory=dict)
    """By ``namespace.table``, ``namespace`` or ``*``."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the rules.

        Raises:
            ConfigurationError: a rule cannot be read.
        """
        rules = {}
        for rule in filter(None, map(str.strip, text.split(","))):
            place, _, word = map(str.strip, rule.partition("="))
            if word not in set(Contract):
                raise ConfigurationError(
                    f"{_SETTING} has the rule {rule!r}",
                    advice="Write rules as `canvas=warn,canvas.users=freeze`: evolve, warn or "
                    "freeze for a table, a namespace or `*`.",
                )
            rules[check_place(place, _SETTING)] = Contract(word)
        return cls(rules)

    def of(self, name: TableName) -> Contract:
        """Give the contract of a table."""
        for place in places_of(name):
            if place in self.rules:
                return self.rules[place]
        return Contract.EVOLVE


def check_contract(
    name: TableName, before: TableShape | None, schema: TableShape, contracts: Contracts
) -> tuple[ShapeChange, ...]:
    """Tell what changes about a table by a load in this schema, before anything is downloaded.

    Args:
        name: the table.
        before: shape of the published version; None where there is none.
        schema: shape that DAP's schema of the new job has.
        contracts: the rules.

    Raises:
        ContractError: the table is frozen; the text lists every change.
    """
    if before is None or before.schema_version == schema.schema_version:
        return ()
    # As DAP has them: what the settings mask is no change of DAP's.
    changes = changes_between(before.in_parts(), schema.in_parts())
    broken = [change for change in changes if not change.harmless]
    if broken and contracts.of(name) is Contract.FREEZE:
        listed = " ".join(map(str, broken))
        raise ContractError(f"the schema of this frozen table changed. {listed}").at(
            name.namespace, name.table
        )
    return changes
