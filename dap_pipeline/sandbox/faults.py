"""Faults that a test switches on: which requests and jobs are struck, and how often.

What happens to a request that is struck is an effect: see ``faults_answers`` for answers that are
wrong, ``faults_wire`` for connections that break, ``faults_links`` for links that lead elsewhere.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.responses import JSONResponse, Response

from . import errors
from .interceptors import Call, Interceptor, Proceed
from .job_book import Job
from .limits import Endpoint

Effect = Callable[[Call, Proceed], Awaitable[Response]]

ALWAYS = None


@dataclass(frozen=True)
class Fault:
    """An effect, and the requests that it strikes.

    Of the requests to each of the endpoints (for the table, where one is named) the first `skip`
    pass; of the others, `times` (ALWAYS: all) are struck, each with the given probability. Queries
    can be told apart: only those for increments (`increments` is True), or only the others.
    """

    effect: Effect
    endpoints: tuple[Endpoint, ...]
    table: str = ""
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    increments: bool | None = None


@dataclass(frozen=True)
class JobFault:
    """Jobs that fail: the first `times` (ALWAYS: all) of the table, with this message."""

    message: str
    table: str = ""
    times: int | None = 1


@dataclass(frozen=True)
class Strike:
    """A request that was struck, and when (in seconds of a clock that only counts on)."""

    call: Call
    at: float


@dataclass
class _Count:
    """How many requests a fault has seen and struck at one endpoint."""

    seen: int = 0
    struck: int = 0


@dataclass
class Faults(Interceptor):
    """Strikes requests and jobs with the faults that are switched on; the first that fits wins.

    `calls` are all requests since the switches were last changed, `strikes` those that were struck.
    """

    seed: int = 0
    calls: list[Strike] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    jobs_failed: int = 0
    _faults: tuple[Fault | JobFault, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counts: dict[tuple[int, Endpoint | None], _Count] = field(default_factory=dict)
    _tables: dict[str, str] = field(default_factory=dict)
    _random: random.Random = field(default_factory=random.Random)

    def switch_on(self, *faults: Fault | JobFault) -> None:
        """Strike with these faults from now on, and with no others."""
        with self._lock:
            self._faults = faults
            self._counts.clear()
            self._random.seed(self.seed)
            self.calls, self.strikes, self.jobs_failed = [], [], 0

    def switch_off(self) -> None:
        """Let everything pass from now on."""
        self.switch_on()

    def struck(self) -> Counter[Endpoint]:
        """Count the requests that were struck."""
        return Counter(strike.call.endpoint for strike in self.strikes)

    def jobs_of(self, table: str) -> set[str]:
        """Name all jobs that a table ever had."""
        return {job_id for job_id, its_table in self._tables.items() if its_table == table}

    async def answer(self, call: Call, proceed: Proceed) -> Response:
        """Strike the request with the first fault that it fits."""
        with self._lock:
            self.calls.append(Strike(call, time.monotonic()))
        faults = [f for f in enumerate(self._faults) if isinstance(f[1], Fault)]
        answered = None
        for number, fault in faults:
            if not isinstance(fault, Fault) or call.endpoint not in fault.endpoints:
                continue
            if fault.table and call.endpoint is Endpoint.OBJECT_URL:
                # Only the answer tells whose objects were asked for; asking twice does no harm.
                answered = answered or await proceed()
            if self._fits(fault, call, answered) and self._strikes(number, fault, call):
                return await fault.effect(call, proceed)
        return answered or await proceed()

    def before_job(self, job: Job) -> None:
        """Learn whose job it is, and fail it where a fault says so."""
        with self._lock:
            self._tables[job.id] = job.table
            for number, fault in enumerate(self._faults):
                if isinstance(fault, JobFault) and fault.table in ("", job.table):
                    count = self._counts.setdefault((number, None), _Count())
                    if fault.times is ALWAYS or count.struck < fault.times:
                        count.struck += 1
                        self.jobs_failed += 1
                        raise errors.processing(fault.message)

    def _fits(self, fault: Fault, call: Call, answered: Response | None) -> bool:
        if fault.increments not in (None, call.asks_for_changes):
            return False
        if not fault.table:
            return True
        if answered is not None and call.endpoint is Endpoint.OBJECT_URL:
            return fault.table in self._tables_of(answered)
        return fault.table in (call.table, self._tables.get(call.job_id))

    def _tables_of(self, answered: Response) -> set[str]:
        """Tell the tables whose objects an answer has links to."""
        if not isinstance(answered, JSONResponse):
            return set()
        objects = json.loads(bytes(answered.body)).get("urls", {})
        return {self._tables.get(name.partition("/")[0], "") for name in objects}

    def _strikes(self, number: int, fault: Fault, call: Call) -> bool:
        with self._lock:
            count = self._counts.setdefault((number, call.endpoint), _Count())
            count.seen += 1
            over = fault.times is not ALWAYS and count.struck >= fault.times
            if count.seen <= fault.skip or over or self._random.random() >= fault.probability:
                return False
            count.struck += 1
            self.strikes.append(Strike(call, time.monotonic()))
            return True
