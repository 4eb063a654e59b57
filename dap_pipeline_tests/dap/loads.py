"""A service with objects, and downloads from it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from dap_pipeline.dap.download import Downloader
from dap_pipeline.dap.links import LinkBook
from dap_pipeline.dap.models import Format
from dap_pipeline.dap.patience import Patience
from dap_pipeline.dap.stages import Target
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.settings import Verify

from .parts import HASTY, LINKS, client_of, packed
from .scripted import Answer, Reply, ScriptedServer, Seen, says

BODY = packed(100_000)


class Loads:
    """A service with objects at /objects/<id>, and downloads from it into one folder."""

    def __init__(self, server: ScriptedServer, folder: Path) -> None:
        self.server = server
        self.folder = folder / "job_1"
        self.folder.mkdir()
        self.client = client_of(server.url, folder)
        self.stop = Stop()
        self.format = Format.JSONL
        self.signed = 0
        self.indices: dict[str, int] = {}
        self.downloaders: list[Downloader] = []
        server.logs_in()
        server.always(LINKS, self._sign)

    def _sign(self, seen: Seen) -> Answer:
        self.signed += 1
        urls = {
            each["id"]: {"url": f"{self.server.url}/objects/{each['id']}?sig=c0ffee{self.signed}"}
            for each in seen.json
        }
        return says({"urls": urls})

    @property
    def _suffix(self) -> str:
        return ".parquet" if self.format is Format.PARQUET else ".jsonl.gz"

    def target(self, name: str, index: int = 0) -> Target:
        return Target(index, name, self.folder / f"{name}{self._suffix}")

    def downloader(
        self, connections: int = 4, verify: Verify = Verify.FULL, patience: Patience = HASTY
    ) -> Downloader:
        made = Downloader(
            self.client.http, connections=connections, verify=verify, patience=patience
        )
        self.downloaders.append(made)
        return made

    def fetching(
        self,
        names: list[str],
        downloader: Downloader | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
        stop: Stop | None = None,
    ) -> Iterator[Target]:
        for name in names:
            self.indices.setdefault(name, len(self.indices))
        targets = [self.target(name, self.indices[name]) for name in names]
        links = LinkBook(self.client, names, stop or self.stop)
        return (downloader or self.downloader()).fetch(
            targets, links, self.format, on_bytes=on_bytes, stop=stop or self.stop
        )

    def fetch(
        self,
        names: list[str],
        downloader: Downloader | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        return [target.object_id for target in self.fetching(names, downloader, on_bytes)]

    def object(self, name: str, *replies: Reply) -> None:
        self.server.on(f"/objects/{name}", *replies)

    def asked(self, name: str) -> list[Seen]:
        return self.server.at(f"/objects/{name}")

    def files(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.folder.iterdir()}


def download_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("download-")]


def await_threads() -> None:
    for thread in download_threads():
        thread.join(60)
    assert download_threads() == []
