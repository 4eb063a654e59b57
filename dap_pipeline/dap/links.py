"""Signed links to a job's objects, asked for in batches and renewed in time.

A link lives about 15 minutes and DAP allows 200 link calls a minute, so links are asked for when
they are needed, many objects in one call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import NotFoundError

BATCH = 200
# Of the documented 15 minutes; a download that has begun goes on after its link has expired.
FRESH_SECONDS = 600.0


@dataclass(frozen=True)
class _Signed:
    url: str = field(repr=False)
    until: float


class LinkBook:
    """The links of one job's objects; safe to share between threads."""

    def __init__(self, client: DapClient, object_ids: Sequence[str], stop: Stop) -> None:
        self._client = client
        self._waiting = list(dict.fromkeys(object_ids))
        self._stop = stop
        self._lock = threading.Lock()
        self._signed: dict[str, _Signed] = {}

    def url(self, object_id: str) -> str:
        """Give a link that is good for some minutes.

        Raises:
            NotFoundError: DAP gives no link for the object.
        """
        with self._lock:
            signed = self._signed.get(object_id)
            if signed is None or signed.until < time.monotonic():
                self._ask(object_id)
                signed = self._signed[object_id]
            return signed.url

    def urls(self) -> dict[str, str]:
        """Give a link for every object."""
        return {object_id: self.url(object_id) for object_id in self._waiting}

    def forget(self, object_id: str) -> None:
        """Drop a link that the object store has refused."""
        with self._lock:
            self._signed.pop(object_id, None)

    def _ask(self, object_id: str) -> None:
        """Ask for the whole batch of this object: threads come for theirs in any order."""
        start = self._waiting.index(object_id) // BATCH * BATCH
        wanted = self._waiting[start : start + BATCH]
        until = time.monotonic() + FRESH_SECONDS
        for found, link in self._client.links(wanted, self._stop).items():
            self._signed[found] = _Signed(link.url, until)
        # Only a fresh answer counts: an older link may be what the store has just refused.
        if self._signed.get(object_id, _Signed("", 0.0)).until < until:
            raise NotFoundError("DAP gave no link for an object of the job", kind="object")
