from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import Settings

from .school import definitions_for, settings_for, small_sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    with small_sandbox(tmp_path / "school") as running:
        yield running


@pytest.fixture
def settings(sandbox: RunningSandbox, tmp_path: Path) -> Settings:
    return settings_for(sandbox, tmp_path)


@pytest.fixture
def definitions(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    return definitions_for(settings, monkeypatch)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
