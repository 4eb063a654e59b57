from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types of its own
from pydantic import SecretStr

from dap_pipeline.errors import ConfigurationError
from dap_pipeline.orchestration.home import (
    environment_of,
    home_of,
    prepare_home,
    sandbox_settings,
    using_home,
)
from dap_pipeline.settings import load_settings

PROJECT = Path(__file__).parent.parent.parent


def test_settings_go_through_the_environment_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = load_settings(
        client_id="id#1",
        client_secret=SecretStr("s3cret"),
        data_dir=tmp_path / "da ta",
        parallel_tables=3,
        keep_versions=timedelta(hours=36),
        sandbox=True,
    )
    for name, value in environment_of(given).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == given


def test_the_data_folder_is_given_as_an_absolute_path() -> None:
    assert environment_of(load_settings(data_dir=Path("data")))["DAP_PIPELINE_DATA_DIR"] == str(
        Path("data").absolute()
    )


def test_the_embedded_service_never_meets_a_schools_data_or_credentials() -> None:
    school = load_settings(data_dir=Path("data"), client_id="id", client_secret=SecretStr("secret"))
    made_up = sandbox_settings(school)
    assert not made_up.has_credentials
    assert made_up.sandbox
    assert made_up.data_dir == Path("data/sandbox").absolute()
    assert home_of(made_up) != home_of(school)


def test_dagsters_folder_is_readable_by_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = home_of(load_settings())
    prepare_home(home)
    prepare_home(home)
    assert home == tmp_path / ".dagster" / "dap"
    for folder in (home, home.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_dagsters_own_settings_are_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    prepare_home(tmp_path / "home")
    assert (tmp_path / "home" / "dagster.yaml").read_text() == Path("dagster.yaml").read_text()


@pytest.mark.parametrize("folder", [PROJECT, Path("/")])
def test_dagster_sends_nothing_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.chdir(folder)
    prepare_home(tmp_path / "home")
    instance = yaml.safe_load((tmp_path / "home" / "dagster.yaml").read_text())
    assert instance["telemetry"] == {"enabled": False}
    assert instance["nux"] == {"enabled": False}


def test_the_workspace_is_the_projects(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    [ours] = yaml.safe_load((tmp_path / "workspace.yaml").read_text())["load_from"]
    [projects] = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    del projects["python_module"]["working_directory"]
    assert ours == projects


def test_no_table_of_pyproject_overrides_the_workspace_file() -> None:
    text = (PROJECT / "pyproject.toml").read_text()
    assert "[tool.dagster" not in text
    assert "[tool.dg" not in text


def test_two_dagsters_over_one_history_are_refused(tmp_path: Path) -> None:
    with (
        using_home(tmp_path),
        pytest.raises(ConfigurationError, match="running already"),
        using_home(tmp_path),
    ):
        pass
    with using_home(tmp_path):
        pass
