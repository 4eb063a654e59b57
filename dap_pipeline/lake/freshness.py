"""When a table counts as stale, told the same way by Dagster, the command line and DuckDB.

DAP refreshes most namespaces every 4 hours, new_quizzes every 8 and canvas_logs once a day. What
counts is when DAP was last asked, not the age of the data: nothing may have happened in a quiet
table for a year.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import TypeAdapter, ValidationError

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError
from dap_pipeline.lake.places import check_place, places_of
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.settings import Settings, Span

_SETTING = "DAP_PIPELINE_STALE_AFTER_OF"
_SPAN: TypeAdapter[timedelta] = TypeAdapter(Span)
_RHYTHM = timedelta(hours=4)
_RHYTHMS = {"new_quizzes": timedelta(hours=8), "canvas_logs": timedelta(hours=24)}
_SLACK = timedelta(hours=4)


def rhythm_of(name: TableName) -> timedelta:
    """Tell how often DAP refreshes a table."""
    return _RHYTHMS.get(name.namespace, _RHYTHM)


@dataclass(frozen=True)
class FreshnessRules:
    """After how long a table that nobody asked DAP about is late, and then stale."""

    everywhere: timedelta = timedelta()
    """For all tables; zero follows the rhythm of DAP."""
    exceptions: Mapping[str, timedelta] = field(default_factory=dict)
    """By ``namespace.table``, ``namespace`` or ``*``."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the rules.

        Raises:
            ConfigurationError: one cannot be read.
        """
        exceptions = {}
        for rule in filter(None, map(str.strip, settings.stale_after_of.split(","))):
            place, _, span = map(str.strip, rule.partition("="))
            try:
                exceptions[check_place(place, _SETTING)] = _SPAN.validate_python(span)
            except ValidationError:
                raise ConfigurationError(
                    f"{_SETTING} has the rule {rule!r}",
                    advice="Write rules as `canvas=PT12H,canvas_logs=P3D`.",
                ) from None
        return cls(settings.stale_after, exceptions)

    def stale_after(self, name: TableName) -> timedelta:
        """Tell after how long a table is stale: by rhythm, when it has missed two refreshes."""
        return self._set_for(name) or 2 * rhythm_of(name) + _SLACK

    def late_after(self, name: TableName) -> timedelta | None:
        """Tell after how long a table is late: by rhythm, when it has missed one refresh.

        None where a setting says when it is stale.
        """
        return None if self._set_for(name) else rhythm_of(name) + _SLACK

    def _set_for(self, name: TableName) -> timedelta:
        found = (self.exceptions[p] for p in places_of(name) if p in self.exceptions)
        return next(found, self.everywhere)


BY_RHYTHM = FreshnessRules()
"""The rules of a school that sets none."""


@dataclass(frozen=True)
class Freshness:
    """How fresh a published table is."""

    checked_at: datetime
    """When DAP last said that this is the table's state."""
    stale_after: timedelta
    stale_at: datetime
    stale: bool


def freshness_of(
    table: PublishedTable, rules: FreshnessRules, now: datetime | None = None
) -> Freshness:
    """Tell how fresh a published table is, now or at another instant."""
    after = rules.stale_after(table.name)
    stale_at = table.checked_at + after
    return Freshness(table.checked_at, after, stale_at, (now or datetime.now(UTC)) > stale_at)
