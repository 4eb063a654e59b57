"""How long and how often something that failed is tried again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from dap_pipeline.errors import DamagedObjectError, DapPipelineError, RateLimitedError, ServerError

_RANDOM = random.SystemRandom()


@dataclass(frozen=True)
class Patience:
    """Waits between tries, in seconds: growing, jittered, and bounded in all."""

    first_wait: float = 0.5
    longest_wait: float = 60.0
    total: float = 600.0
    rate_limit_wait: float = 30.0
    """After a 429 without Retry-After; the official client waits as long."""
    damaged_tries: int = 4
    """A whole answer that proves damaged so often is the service's, not the network's."""

    def tries(self) -> Tries:
        """Begin to count tries."""
        return Tries(self)

    def wait_after(self, error: BaseException, failures: int) -> float:
        """Give the wait before the next try, after so many failures in a row."""
        if isinstance(error, RateLimitedError | ServerError) and error.retry_after is not None:
            return error.retry_after
        if isinstance(error, RateLimitedError):
            return self.rate_limit_wait
        growing = min(self.first_wait * 2.0 ** (failures - 1), self.longest_wait)
        return growing * _RANDOM.uniform(0.5, 1.5)


@dataclass
class Tries:
    """The tries of one thing, from the first on or since it last made progress."""

    patience: Patience
    damaged: int = 0
    failures: int = 0
    began: float = field(default_factory=time.monotonic)
    _wait: float = 0.0

    def failed(self, error: DapPipelineError) -> None:
        """Count a failure; raise it when it was one too many or the next try came too late."""
        self.failures += 1
        self.damaged += isinstance(error, DamagedObjectError)
        self._wait = self.patience.wait_after(error, self.failures)
        late = time.monotonic() + self._wait - self.began > self.patience.total
        if not error.retryable or late or self.damaged >= self.patience.damaged_tries:
            raise error

    def wait(self) -> float:
        """Give the seconds to wait before the next try."""
        return self._wait

    def anew(self) -> Tries:
        """Begin again after progress; damage is remembered."""
        return Tries(self.patience, damaged=self.damaged)
