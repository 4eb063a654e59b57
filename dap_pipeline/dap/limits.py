"""Keeps DAP's rate limits for every process on the machine that shares the file.

DAP counts calls per endpoint and minute and answers 429 to those above the limit
(developerdocs, "Limits & policies"). A slot is taken at the moment of the call and never ahead of
it, so a run that is stopped while it waits takes nothing from the others.

A 429 tells that DAP allows less than the setting says, or that somebody else uses the same
credentials: from then on half as many calls are made, and each minute some more again, up to the
setting (`budget.py`). So the number settles near what DAP allows, whoever else calls.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from dap_pipeline.dap.budget import Budget, Wait, now
from dap_pipeline.dap.limits_file import LimitsFile
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import RateLimitedError
from dap_pipeline.settings import LimitsCount, Settings

_LOG = logging.getLogger(__name__)

# A call reaches DAP a little after its slot was taken, and not always equally late.
MARGIN_SECONDS = 0.5
# A rest from this length on is told in the log, once.
TOLD_SECONDS = 5.0

_Key = tuple[str, str]
"""Scope and counted endpoint."""


class Endpoint(StrEnum):
    """The endpoints that DAP counts, each on its own."""

    LIST = "list"
    SCHEMA = "schema"
    CREATE = "create"
    POLL = "poll"
    LINKS = "links"


def limits_of(settings: Settings) -> dict[Endpoint, int]:
    """Give the calls a minute of each endpoint as the settings have them."""
    return {
        Endpoint.LIST: settings.lists_per_minute,
        Endpoint.SCHEMA: settings.schemas_per_minute,
        Endpoint.CREATE: settings.creates_per_minute,
        Endpoint.POLL: settings.polls_per_minute,
        Endpoint.LINKS: settings.links_per_minute,
    }


class Limiter:
    """One budget of calls, shared through a SQLite file.

    Args:
        file: made when missing, readable by its owner only.
        limits: calls that each endpoint allows within ``period`` seconds.
        scope: whose budget it is, for example the client id's public half and the host.
        count: whether all tables share the budget of an endpoint, or each has its own.
    """

    def __init__(
        self,
        file: Path,
        limits: Mapping[Endpoint, int],
        *,
        scope: str = "",
        count: LimitsCount = LimitsCount.ACCOUNT,
        period: float = 60.0,
        margin: float = MARGIN_SECONDS,
    ) -> None:
        self._file = LimitsFile(file)
        self._limits = dict(limits)
        self._scope = scope
        self._count = count
        self._period = period + margin
        self._told: dict[_Key, float] = {}

    def acquire(
        self, endpoint: Endpoint, stop: Stop, *, table: str = "", longest_rest: float = math.inf
    ) -> None:
        """Wait until a call to the endpoint is allowed, and take its slot.

        Args:
            endpoint: where the call goes.
            stop: ends the wait.
            table: the table that the call names, for budgets that are counted per table.
            longest_rest: seconds that rests after a 429 are waited for in all.

        Raises:
            CancelledError: a stop was asked for meanwhile.
            RateLimitedError: DAP wants no such call for longer than that.
        """
        stop.check()
        key, limit = self._key(endpoint, table), self._limits[endpoint]

        def take(db: sqlite3.Connection) -> Wait | None:
            return Budget(db, key, limit, self._period).take()

        rested = 0.0
        while (wait := self._file.transact(take, stop)) is not None:
            if wait.is_rest:
                rested += wait.seconds
                if rested > longest_rest:
                    raise _wants_rest(endpoint, wait)
                self._tell(endpoint, key, wait)
            stop.wait(wait.seconds)

    def pause(self, endpoint: Endpoint, seconds: float, *, table: str = "") -> None:
        """Let nobody call the endpoint for so long, and fewer times after that: it answered 429."""
        key, limit = self._key(endpoint, table), self._limits[endpoint]
        self._file.transact(lambda db: Budget(db, key, limit, self._period).rest(seconds), Stop())

    def _key(self, endpoint: Endpoint, table: str) -> _Key:
        per_table = table and self._count is LimitsCount.TABLE
        return self._scope, f"{endpoint.value} {table}" if per_table else endpoint.value

    def _tell(self, endpoint: Endpoint, key: _Key, wait: Wait) -> None:
        """Say once for each rest of some length that it is waited for."""
        until = now() + wait.seconds
        if wait.seconds >= TOLD_SECONDS and until > self._told.get(key, 0.0) + TOLD_SECONDS:
            self._told[key] = until
            _LOG.warning("%s; waiting for that", _wants_rest(endpoint, wait).what)


def _wants_rest(endpoint: Endpoint, wait: Wait) -> RateLimitedError:
    until = datetime.now(UTC).astimezone() + timedelta(seconds=wait.seconds)
    return RateLimitedError(
        f"DAP has answered 429 and allows no {endpoint} calls until {until:%H:%M:%S}",
        retry_after=wait.seconds,
        advice="Run it again after that; a longer patience is the setting "
        "DAP_PIPELINE_RETRY_SECONDS.",
    )
