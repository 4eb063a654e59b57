"""Files that grow, and the looks at them."""

from __future__ import annotations

import threading
from pathlib import Path

from dap_pipeline.dap.arriving import Look
from dap_pipeline.dap.models import Format
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.workers import Workers
from dap_pipeline.settings import Verify


def await_all(together: threading.Barrier) -> None:
    together.wait(60)


class Arriving:
    """A file that grows, and the look at it."""

    def __init__(self, file: Path, decoders: Workers, format: Format, verify: Verify) -> None:
        self.file = file
        self.decoders = decoders
        self.look = Look(file, format, verify, decoders, Stop())

    def bring(self, data: bytes) -> None:
        with self.file.open("ab") as file:
            file.write(data)
        self.look.arrived(len(data))

    def await_step(self) -> None:
        """Wait until the decoders have done all that was asked of them so far."""
        together = threading.Barrier(3)
        for _ in range(2):
            self.decoders.submit(lambda: await_all(together))
        await_all(together)


def arriving(
    folder: Path,
    decoders: Workers,
    verify: Verify = Verify.FULL,
    format: Format = Format.JSONL,
) -> Arriving:
    return Arriving(folder / "part", decoders, format, verify)
