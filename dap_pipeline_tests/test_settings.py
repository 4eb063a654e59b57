from __future__ import annotations

import traceback
from datetime import timedelta
from pathlib import Path

import pytest

from dap_pipeline.errors import ConfigurationError
from dap_pipeline.settings import (
    DEFAULT_API_URL,
    Settings,
    SourceFormat,
    Verify,
    load_settings,
    variable_of,
)

SECRET = "pAssw0rd-of-the-school"
INSTRUCTURES = {
    "api_url": "DAP_API_URL",
    "client_id": "DAP_CLIENT_ID",
    "client_secret": "DAP_CLIENT_SECRET",
}


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_of(field), raising=False)


def test_without_any_source_there_are_defaults() -> None:
    settings = load_settings()
    assert settings.api_url == DEFAULT_API_URL
    assert settings.data_dir == Path("data")
    assert settings.verify is Verify.FULL
    assert settings.keep_versions == timedelta(days=7)
    assert not settings.has_credentials


@pytest.mark.parametrize("field", Settings.model_fields)
def test_instructures_names_are_kept_and_every_other_one_has_our_prefix(field: str) -> None:
    assert variable_of(field) == INSTRUCTURES.get(field, f"DAP_PIPELINE_{field.upper()}")


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_tells_its_meaning_in_a_sentence(field: str) -> None:
    description = Settings.model_fields[field].description
    assert description is not None
    assert description.endswith(".")


VALUES = {
    "DAP_API_URL": ("https://dap.example", "api_url", "https://dap.example"),
    "DAP_CLIENT_ID": ("us#1", "client_id", "us#1"),
    "DAP_PIPELINE_DATA_DIR": ("/srv/dap", "data_dir", Path("/srv/dap")),
    "DAP_PIPELINE_SOURCE_FORMAT": ("jsonl", "source_format", SourceFormat.JSONL),
    "DAP_PIPELINE_VERIFY": ("size", "verify", Verify.SIZE),
    "DAP_PIPELINE_PARALLEL_TABLES": ("3", "parallel_tables", 3),
    "DAP_PIPELINE_JOB_TIMEOUT": ("1.5", "job_timeout", 1.5),
    "DAP_PIPELINE_SANDBOX": ("true", "sandbox", True),
}


@pytest.mark.parametrize("name", VALUES)
def test_the_environment_sets_what_its_name_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, field, value = VALUES[name]
    monkeypatch.setenv(name, text)
    assert getattr(load_settings(), field) == value


@pytest.mark.parametrize("text", ["14d", "P14D", "14 days", "1209600", "1209600.0"])
def test_a_span_is_written_as_days_or_iso_or_seconds(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAP_PIPELINE_KEEP_VERSIONS", text)
    assert load_settings().keep_versions == timedelta(days=14)


def test_versions_stay_until_a_load_of_all_tables_is_registered_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text, kept in {"P1D": timedelta(days=1), "0": timedelta()}.items():
        monkeypatch.setenv("DAP_PIPELINE_KEEP_VERSIONS", text)
        assert load_settings().keep_versions == kept
    for text in ("PT10M", "PT23H", "1"):
        monkeypatch.setenv("DAP_PIPELINE_KEEP_VERSIONS", text)
        with pytest.raises(ConfigurationError, match="must be a day at least"):
            load_settings()


def test_arguments_win_over_environment_over_env_file_over_pyproject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.dap_pipeline]\nparallel_tables = 1\n")
    assert load_settings().parallel_tables == 1
    (tmp_path / ".env").write_text("DAP_PIPELINE_PARALLEL_TABLES=2\n")
    assert load_settings().parallel_tables == 2
    monkeypatch.setenv("DAP_PIPELINE_PARALLEL_TABLES", "3")
    assert load_settings().parallel_tables == 3
    assert load_settings(parallel_tables=4).parallel_tables == 4


@pytest.mark.parametrize("name", ["api_url", "dap_api_url"])
def test_pyproject_names_the_service_as_the_field_or_as_instructure(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.dap_pipeline]\n{name} = "https://a.b"\n')
    assert load_settings().api_url == "https://a.b"


def test_foreign_tables_and_names_are_nobodys_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nverify = 1\n")
    (tmp_path / ".env").write_text("OTHER=1\nDAP_PIPELINE_UNHEARD_OF=1\n")
    monkeypatch.setenv("VERIFY", "size")
    assert load_settings().verify is Verify.FULL


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAP_API_URL", "")
    monkeypatch.setenv("DAP_PIPELINE_JOB_TIMEOUT", "")
    assert load_settings() == load_settings(api_url=DEFAULT_API_URL)


WRONG = {
    "DAP_PIPELINE_PARALLEL_TABLES": "many",
    "DAP_PIPELINE_CONNECTIONS": "-17",
    "DAP_PIPELINE_JOB_TIMEOUT": "-1.25",
    "DAP_PIPELINE_IDLE_TIMEOUT": "inf",
    "DAP_PIPELINE_RETRY_SECONDS": "nan",
    "DAP_PIPELINE_SOURCE_FORMAT": "excel",
    "DAP_PIPELINE_VERIFY": "maybe",
    "DAP_PIPELINE_KEEP_VERSIONS": "a fortnight",
    "DAP_PIPELINE_STALE_AFTER": "-P8D",
    "DAP_PIPELINE_DUCKDB_MEMORY": "plenty",
    "DAP_PIPELINE_SANDBOX": "perhaps",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_cannot_be_used_is_told_by_the_variables_name_and_not_repeated(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, WRONG[name])
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert name in str(caught.value)
    assert WRONG[name] not in str(caught.value)
    assert caught.value.ends_run


def test_a_secret_of_the_wrong_type_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(client_secret=[SECRET], api_url=[SECRET])
    told = "".join(traceback.format_exception(caught.value))
    assert "DAP_CLIENT_SECRET" in told
    assert "DAP_API_URL" in told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("pyproject.toml", f"[tool.dap_pipeline\nclient_secret = {SECRET}".encode()),
        ("pyproject.toml", b"\xff\xfe"),
        (".env", b"DAP_CLIENT_SECRET=\xff" + SECRET.encode()),
    ],
)
def test_a_settings_file_that_cannot_be_read_is_a_clear_error(
    tmp_path: Path, file: str, content: bytes
) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"\.env or pyproject\.toml cannot be read") as e:
        load_settings()
    assert SECRET not in "".join(traceback.format_exception(e.value))


def test_the_secret_is_in_no_picture_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAP_CLIENT_ID", "us#1")
    monkeypatch.setenv("DAP_CLIENT_SECRET", SECRET)
    settings = load_settings()
    assert settings.has_credentials
    assert settings.client_secret.get_secret_value() == SECRET
    for picture in (repr(settings), str(settings), settings.model_dump_json(), f"{settings}"):
        assert SECRET not in picture


def test_folders_lie_in_the_data_folder_and_are_absolute(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.lake_dir == tmp_path / "data" / "lake"
    assert settings.staging_dir == tmp_path / "data" / "staging"
    assert settings.catalogue_dir == tmp_path / "data" / "catalogue"
    assert settings.warehouse_file == tmp_path / "data" / "warehouse.duckdb"
