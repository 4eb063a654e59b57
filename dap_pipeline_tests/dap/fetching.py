"""Fetches one object into one file, as often as a test wants."""

from __future__ import annotations

from pathlib import Path

from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.transfer import transfer

from .parts import http_to, packed
from .scripted import ScriptedServer

BODY = packed(100_000)
SIGNED = "X-Amz-Signature=c0ffee"


class Fetching:
    """Fetches the object at /o again and again into the same file."""

    def __init__(self, server: ScriptedServer, folder: Path, idle_timeout: float = 30.0) -> None:
        self.http = http_to(server.url, idle_timeout)
        self.url = f"{server.url}/o?{SIGNED}"
        self.file = folder / ".00000.partial"
        self.stop = Stop()
        self.arrived: list[int] = []

    def fetch(self) -> bool:
        return transfer(
            self.http, self.url, self.file, on_bytes=self.arrived.append, stop=self.stop
        )

    @property
    def etag(self) -> Path:
        return self.file.with_name(self.file.name + ".etag")
