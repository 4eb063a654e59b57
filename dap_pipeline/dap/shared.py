"""What all runs of a user on this machine share: DAP's budget of calls, and the connections.

A slot for a connection is a file that is locked: a process that is killed frees its own.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
from filelock import FileLock, Timeout

from dap_pipeline.dap.disk import make_private
from dap_pipeline.dap.line import Line
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.workers import Places
from dap_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# Between two looks at places that other processes hold; a download lasts longer than that.
_LOOK_SECONDS = 0.05
# Who has waited so long stands in line, and after so long says so.
_LINE_SECONDS = 1.0
_TOLD_SECONDS = 30.0


def is_loopback(url: str) -> bool:
    """Tell whether a service runs on this machine, as the embedded one does."""
    return urlsplit(url).hostname in _LOOPBACK


def shared_folder(settings: Settings) -> Path:
    """Give the folder that runs share, made if it was missing.

    It is the data folder for a service on this machine, whose limits are nobody else's, and where
    the user has no state folder that can be written.
    """
    data = settings.data_dir.absolute()
    if settings.shared_dir is None and is_loopback(settings.api_url):
        return data
    folder = settings.shared_dir or platformdirs.user_state_path("dap_pipeline")
    try:
        make_private(folder.absolute())
        (folder / "limits.sqlite").touch(mode=0o600)
    except OSError as error:
        _LOG.warning(
            "%s cannot be written (%s): only runs with the data folder %s share DAP's limits. "
            "Set DAP_PIPELINE_SHARED_DIR to a folder that can be.",
            folder,
            error.strerror,
            data,
        )
        return data
    return folder.absolute()


class SharedPlaces:
    """Places for connections, among all processes that use the folder; safe for many threads.

    A process whose connections are all busy takes a place again as soon as one of them is free,
    long before others look. So who has waited for a while stands in line, and has the next one.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._own = Places(count)
        self._folder = folder
        self._slots: deque[FileLock] = deque(
            FileLock(folder / f"{number:04d}.lock", mode=0o600) for number in range(count)
        )
        # One thread looks for all others of this process.
        self._looking = Places(1)
        self._line = Line(folder)
        self._is_shared = True
        self._has_told = False

    @contextlib.contextmanager
    def taken(self, stop: Stop) -> Iterator[None]:
        """Hold a place while the block runs, waiting until one is free.

        Raises:
            CancelledError: a stop was asked for meanwhile.
        """
        with self._own.taken(stop):
            slot = self._slot(stop) if self._is_shared else None
            try:
                yield
            finally:
                if slot is not None:
                    slot.release()
                    self._slots.append(slot)

    def _slot(self, stop: Stop) -> FileLock | None:
        came = time.monotonic()
        with self._looking.taken(stop):
            try:
                return self._wait_for_slot(came, stop)
            except (OSError, NotImplementedError) as error:
                _LOG.warning(
                    "%s cannot hold locks (%s): connections are counted for each process alone",
                    self._folder,
                    error,
                )
                self._is_shared = False
                return None

    def _wait_for_slot(self, came: float, stop: Stop) -> FileLock:
        make_private(self._folder)
        is_our_turn, stands = self._line.is_empty, False
        with contextlib.ExitStack() as line:
            while True:
                if is_our_turn() and (slot := self._free_slot()) is not None:
                    return slot
                waited = time.monotonic() - came
                if waited >= _LINE_SECONDS and not stands:
                    is_our_turn, stands = line.enter_context(self._line.joined()), True
                if waited >= _TOLD_SECONDS:
                    self._tell()
                stop.wait(_LOOK_SECONDS)

    def _free_slot(self) -> FileLock | None:
        for _ in range(len(self._slots)):
            slot = self._slots.popleft()
            try:
                slot.acquire(blocking=False)
            except Timeout:
                self._slots.append(slot)
            except BaseException:
                self._slots.append(slot)
                raise
            else:
                return slot
        return None

    def _tell(self) -> None:
        if not self._has_told:
            self._has_told = True
            _LOG.warning(
                "waiting for a connection: other runs have those that DAP_PIPELINE_CONNECTIONS "
                "allows (%s)",
                self._folder,
            )
