"""Fixtures for all rooms.

`sandbox` is a running DAP service with a small hand-made school and no rate limits.
`caller` speaks to it with plain requests.
`official_dap` is the path of Instructure's own command line client, in an environment of its own.
"""

from __future__ import annotations

import importlib.abc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.serve import RunningSandbox

from .sandbox import small_school
from .sandbox.caller import Caller

# Else every process that a test starts would compile the project and Dagster anew, where the
# environment says so.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No test fails since the machine is busy.
hypothesis.settings.register_profile("without a clock", deadline=None)
hypothesis.settings.load_profile("without a clock")


class _NoPandas(importlib.abc.MetaPathFinder):
    """Says at once that there is no pandas.

    DuckDB looks for it at every query that has a parameter, each time through all folders.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, _NoPandas())

_OFFICIAL_CLIENT = Path(__file__).parent / "official-client.txt"
_FOLDER = Path(__file__).parent.parent / ".venv-official"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker waits for another at the end."""
    items.sort(key=lambda item: item.get_closest_marker("begun_first") is None)


@pytest.fixture(autouse=True, scope="session")
def _state_folder_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests, and what they start, out of the user's state folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    config = SandboxConfig(tmp_path / "sandbox", rate_limits=False, rows_per_part=25)
    with small_school.running(config) as running:
        yield running


@pytest.fixture
def caller(sandbox: RunningSandbox) -> Caller:
    return Caller(sandbox)


@pytest.fixture(scope="session")
def official_dap() -> Path:
    """The client of the version in official-client.txt, installed on first use."""
    wanted = _OFFICIAL_CLIENT.read_text()
    environment, mark = _FOLDER / "environment", _FOLDER / "installed.txt"
    _FOLDER.mkdir(exist_ok=True)
    with FileLock(_FOLDER / "lock"):
        if not mark.exists() or mark.read_text() != wanted:
            mark.unlink(missing_ok=True)
            python = str(environment / "bin" / "python")
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
            install = [python, "-m", "pip", "install", "--quiet", "-r", str(_OFFICIAL_CLIENT)]
            subprocess.run(install, check=True)
            mark.write_text(wanted)
    return environment / "bin" / "dap"
