"""Fixtures and small parts for the tests of the `dap` room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .fetching import Fetching
from .loads import Loads
from .scripted import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def fetching(server: ScriptedServer, tmp_path: Path) -> Fetching:
    return Fetching(server, tmp_path)


@pytest.fixture
def loads(server: ScriptedServer, tmp_path: Path) -> Iterator[Loads]:
    made = Loads(server, tmp_path)
    yield made
    made.stop.set()
    for downloader in made.downloaders:
        downloader.close()
