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
    """The links of one job's objects; safe to share between threads.

    Args:
        client: gives the links.
        object_ids: what they are wanted for.
        stop: ends calls that name no narrower stop.
    """

    def __init__(self, client: DapClient, object_ids: Sequence[str], stop: Stop) -> None:
        self._client = client
        self._waiting = list(dict.fromkeys(object_ids))
        self._stop = stop
        self._asking = threading.Lock()
        self._signed: dict[str, _Signed] = {}

    def url(self, object_id: str, stop: Stop | None = None) -> str:
        """Give a link that is good for some minutes.

        Raises:
            NotFoundError: DAP gives no link for the object.
            CancelledError: a stop was asked for while the call waited for its turn.
        """
        if (url := self._fresh(object_id)) is not None:
            return url
        with self._asking:
            # Another thread may have asked for the whole batch meanwhile.
            return self._fresh(object_id) or self._ask(object_id, stop or self._stop)

    def urls(self) -> dict[str, str]:
        """Give a link for every object."""
        return {object_id: self.url(object_id) for object_id in self._waiting}

    def forget(self, object_id: str) -> None:
        """Drop a link that the object store has refused."""
        self._signed.pop(object_id, None)

    def _fresh(self, object_id: str) -> str | None:
        signed = self._signed.get(object_id)
        return None if signed is None or signed.until < time.monotonic() else signed.url

    def _ask(self, object_id: str, stop: Stop) -> str:
        """Ask for the whole batch of this object: threads come for theirs in any order."""
        start = self._waiting.index(object_id) // BATCH * BATCH
        found = self._client.links(self._waiting[start : start + BATCH], stop)
        # From the answer on: the call may have waited for its turn longer than a link lives.
        until = time.monotonic() + FRESH_SECONDS
        self._signed |= {name: _Signed(link.url, until) for name, link in found.items()}
        # Only a fresh answer counts: an older link may be what the store has just refused.
        if object_id not in found:
            raise NotFoundError("DAP gave no link for an object of the job", kind="object")
        return found[object_id].url
