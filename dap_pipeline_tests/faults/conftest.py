from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

for _name in ("checking", "generations", "killing", "surfaces", "dagster_surface"):
    pytest.register_assert_rewrite(f"{__package__}.{_name}")

from .generations import Generations, running_generations  # noqa: E402
from .service import School, running_school  # noqa: E402


@pytest.fixture(scope="session")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    with running_school(tmp_path_factory.mktemp("school")) as running:
        yield running


@pytest.fixture
def generations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Generations]:
    """A service whose rows change, and an environment that leads to it."""
    with running_generations(tmp_path / "service") as running:
        for name, value in running.environment(tmp_path / "data").items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty folder so deep down that a name with `../` would show beside it."""
    folder = tmp_path / "deep" / "down" / "below" / "work"
    folder.mkdir(parents=True)
    return folder
