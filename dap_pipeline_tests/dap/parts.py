"""What most tests of this room need: a client of a service, impatient and without rate limits."""

from __future__ import annotations

import gzip
import random
import threading
from pathlib import Path
from typing import Any

from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.http import Http
from dap_pipeline.dap.limits import Endpoint, Limiter
from dap_pipeline.dap.login import Credentials
from dap_pipeline.dap.models import Format, SnapshotQuery, TableName
from dap_pipeline.dap.patience import Patience
from dap_pipeline.dap.stopping import Stop

COURSES = TableName("canvas", "courses")
SNAPSHOT = SnapshotQuery(Format.PARQUET)
TABLES = "/dap/query/canvas/table"
SCHEMA = f"{TABLES}/courses/schema"
DATA = f"{TABLES}/courses/data"
JOB = "/dap/job/job-1"
LINKS = "/dap/object/url"
SECRET = "s3cret-of-the-school"

HASTY = Patience(first_wait=0.001, longest_wait=0.01, rate_limit_wait=0.01, total=30.0)
ONCE = Patience(total=0.0)


class WatchedStop(Stop):
    """Writes down how long it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.waiting = threading.Event()

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.waiting.set()
        super().wait(seconds)


class Clock:
    """Stands still, in the place of the module `time` where no more of that is asked for."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class LongQueue(Limiter):
    """Lets two minutes of a stopped clock pass before each call of one kind."""

    def __init__(self, folder: Path, endpoint: Endpoint) -> None:
        super().__init__(folder / "queue.sqlite", dict.fromkeys(Endpoint, 10_000))
        self.endpoint = endpoint
        self.clock = Clock()

    def acquire(self, endpoint: Endpoint, stop: Stop, **more: Any) -> None:
        super().acquire(endpoint, stop, **more)
        if endpoint is self.endpoint:
            self.clock.now += 120.0


class Gauge:
    """Counts bytes as they arrive, and tells when there are as many as can come."""

    def __init__(self, goal: int) -> None:
        self.goal = goal
        self.count = 0
        self.full = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self.count += count
            if self.count >= self.goal:
                self.full.set()


def http_to(url: str, idle_timeout: float = 30.0) -> Http:
    return Http(url, idle_timeout=idle_timeout)


def client_of(
    url: str,
    folder: Path,
    *,
    patience: Patience = HASTY,
    http: Http | None = None,
    secret: str = SECRET,
    client_id: str = "us-west-2#school",
) -> DapClient:
    """Make a client of the service at `url`."""
    limiter = Limiter(folder / "limits.sqlite", dict.fromkeys(Endpoint, 10_000))
    credentials = Credentials(client_id, secret)
    return DapClient(http or http_to(url), credentials, limiter, patience=patience)


def packed(size: int = 200_000, seed: int = 1) -> bytes:
    """Make a gzip file of about so many bytes that does not shrink."""
    return gzip.compress(random.Random(seed).randbytes(size), compresslevel=1, mtime=0)
