"""Rate limits: so many requests per endpoint in any 60 seconds."""

from __future__ import annotations

import enum
import math
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from .clock import Clock

WINDOW = timedelta(seconds=60)


class Endpoint(enum.Enum):
    """What a request asks for."""

    LOGIN = "login"
    TABLES = "tables"
    SCHEMA = "schema"
    DATA = "data"
    JOB = "job"
    OBJECT_URL = "object_url"
    OBJECT = "object"


DOCUMENTED_LIMITS: Mapping[Endpoint, int] = MappingProxyType(
    {
        Endpoint.DATA: 5,
        Endpoint.JOB: 500,
        Endpoint.TABLES: 5,
        Endpoint.SCHEMA: 500,
        Endpoint.OBJECT_URL: 200,
    }
)


@dataclass
class RateLimiter:
    """Counts requests per endpoint in a sliding window of service time.

    An endpoint without a number is not limited; an empty mapping switches the limits off.
    """

    clock: Clock
    per_minute: Mapping[Endpoint, int]
    _recent: dict[Endpoint, deque[datetime]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, endpoint: Endpoint) -> int | None:
        """Count a request in; None if it may pass, else the seconds to wait."""
        limit = self.per_minute.get(endpoint)
        if limit is None:
            return None
        with self._lock:
            now = self.clock.now()
            recent = self._recent.setdefault(endpoint, deque())
            while recent and recent[0] <= now - WINDOW:
                recent.popleft()
            if len(recent) < limit:
                recent.append(now)
                return None
            oldest = recent[0] if recent else now
            return max(1, math.ceil((oldest + WINDOW - now).total_seconds()))


@dataclass
class RequestCounts:
    """How many requests each endpoint got, and how many of them got 429."""

    requests: Counter[Endpoint] = field(default_factory=Counter)
    rate_limited: Counter[Endpoint] = field(default_factory=Counter)

    def body(self) -> dict[str, dict[str, int]]:
        """Build the answer of `GET /sandbox/requests`."""
        return {
            "requests": {endpoint.value: self.requests[endpoint] for endpoint in Endpoint},
            "rate_limited": {endpoint.value: self.rate_limited[endpoint] for endpoint in Endpoint},
        }
