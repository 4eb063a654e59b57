"""Looks at a file as closely as the setting says, for the most part while it arrives.

Each few MB that a connection has written are read back by a decoder thread, out of the memory in
which the system still has them. So little is left to do when the file has arrived. Gzip is decoded,
and a file that is damaged is given up before the rest of it has come. Of Parquet, the pages are
compared with their checksums, if they have any; decoding them has to wait for the footer.
"""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from dap_pipeline.dap.models import Format
from dap_pipeline.dap.parquet_pages import Pages
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.transfer import discard
from dap_pipeline.dap.verify import Unpacking, verify_magic, verify_parquet
from dap_pipeline.dap.workers import Workers, result_of
from dap_pipeline.errors import DamagedObjectError
from dap_pipeline.settings import Verify

STEP_BYTES = 4 << 20


class Look:
    """One look at the file of one transfer, whose thread alone may use it.

    It begins at the file's first byte when the transfer has written its first one. From then on the
    file only grows: a transfer that starts anew, or goes on with what another has left, makes its
    own look. Of what proves damaged nothing is kept.

    Args:
        file: where the transfer gathers its bytes.
        format: what they should be.
        verify: how close the look is going to be.
        decoders: the threads that decode.
        stop: ends the look.
    """

    def __init__(
        self, file: Path, format: Format, verify: Verify, decoders: Workers, stop: Stop
    ) -> None:
        self._file = file
        self._format = format
        self._is_text = format is not Format.PARQUET
        self._streams = verify is Verify.FULL
        self._decoders = decoders
        self._stop = Stop(stop)
        self._unpacking = Unpacking(file)
        self._pages = Pages(file)
        self._step: Future[None] | None = None
        self._new = 0

    def arrived(self, count: int) -> None:
        """Have what has arrived looked at, once it is worth a step and the last step is over.

        Raises:
            DamagedObjectError: a step has found damage.
        """
        self._new += count
        if self._step is not None and self._step.done():
            self._await(self._step)
            self._step = None
        if self._streams and self._step is None and self._new >= STEP_BYTES:
            self._new = 0
            self._step = self._decoders.begin(self._go_on)

    def finish(self, verify: Verify) -> None:
        """Look at what is left, now that the file is all here.

        Raises:
            DamagedObjectError: it is not whole.
        """
        # One that no thread has begun yet would only come before what does all the rest.
        if self._step is not None and not self._step.cancel():
            self._await(self._step)
        self._await(self._decoders.begin(lambda: self._look(verify)))

    def close(self) -> None:
        """End a step that nobody waits for any more."""
        self._stop.set()
        if self._step is not None:
            self._step.cancel()

    def _await(self, step: Future[None]) -> None:
        try:
            result_of(step, self._stop)
        except DamagedObjectError:
            discard(self._file)
            raise

    def _look(self, verify: Verify) -> None:
        if verify is not Verify.FULL:
            verify_magic(self._file, self._format)
        elif self._is_text:
            self._go_on()
            self._unpacking.end()
        else:
            verify_parquet(self._file, self._pages, self._stop)

    def _go_on(self) -> None:
        if self._is_text:
            for _ in self._unpacking.texts(self._stop):
                pass
        else:
            self._pages.compare(self._stop)
