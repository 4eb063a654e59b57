"""How long and how often something that failed is tried again."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace

from dap_pipeline.errors import DamagedObjectError, DapPipelineError, RateLimitedError, ServerError
from dap_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_RANDOM = random.SystemRandom()


@dataclass(frozen=True)
class Patience:
    """Waits between tries, in seconds: growing, jittered, and bounded in all."""

    first_wait: float = 0.5
    longest_wait: float = 60.0
    total: float = 600.0
    first_contact: float = 15.0
    """In all, until the service has answered once: a wrong address should not take minutes."""
    rate_limit_wait: float = 30.0
    """After a 429 without Retry-After; the official client waits as long."""
    damaged_tries: int = 4
    """A whole answer that proves damaged so often is the service's, not the network's."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Patience:
        """Take the waits from the settings; the rest after a 429 grows with the first wait."""
        return cls(
            first_wait=settings.retry_wait,
            rate_limit_wait=60 * settings.retry_wait,
            total=settings.retry_seconds,
        )

    def tries(self) -> Tries:
        """Begin to count tries."""
        return Tries(self)

    def before_contact(self) -> Patience:
        """Give the shorter patience with a service that has not answered yet."""
        return replace(self, total=min(self.total, self.first_contact))

    def wait_after(self, error: BaseException, failures: int) -> float:
        """Give the wait before the next try, after so many failures in a row."""
        growing = min(self.first_wait * 2.0 ** min(failures - 1, 60), self.longest_wait)
        jittered = growing * _RANDOM.uniform(0.5, 1.5)
        if isinstance(error, RateLimitedError | ServerError) and error.retry_after is not None:
            # At least that long: a service that says "0" again and again needs a rest all the same.
            return max(error.retry_after, jittered)
        return self.rate_limit_wait if isinstance(error, RateLimitedError) else jittered


@dataclass
class Tries:
    """The tries of one thing, from its first failure on or since it last made progress."""

    patience: Patience
    damaged: int = 0
    failures: int = 0
    began: float = 0.0
    _wait: float = 0.0

    def failed(self, error: DapPipelineError) -> None:
        """Count a failure; raise it when it was one too many or the next try came too late."""
        if not self.failures:
            # Not from the first try on: that one may have waited long for its place in a queue.
            self.began = time.monotonic()
        self.failures += 1
        self.damaged += isinstance(error, DamagedObjectError)
        self._wait = self.patience.wait_after(error, self.failures)
        late = time.monotonic() + self._wait - self.began > self.patience.total
        if not error.retryable or late or self.damaged >= self.patience.damaged_tries:
            raise error
        _LOG.warning("%s; trying again in %.1f s", error.what, self._wait)

    def excuse(self, seconds: float) -> None:
        """Leave a time out of account that was spent in a queue and not on trying."""
        self.began += seconds

    def wait(self) -> float:
        """Give the seconds to wait before the next try."""
        return self._wait

    def anew(self) -> Tries:
        """Begin again after progress; damage is remembered."""
        return Tries(self.patience, damaged=self.damaged)
