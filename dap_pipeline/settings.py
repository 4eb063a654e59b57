"""Every setting, once: its name, type, default and meaning.

A setting comes from the environment, else from a ``.env`` file in the working directory, else
from ``[tool.dap_pipeline]`` in ``pyproject.toml`` there, else from the default below. Instructure's
three names are as Instructure gives them; every other name begins with ``DAP_PIPELINE_``.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from dap_pipeline.errors import ConfigurationError

DEFAULT_API_URL = "https://api-gateway.instructure.com"

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _as_seconds(value: object) -> object:
    """Take a bare number for seconds: what comes from the environment is text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Span = Annotated[timedelta, BeforeValidator(_as_seconds), Field(ge=timedelta())]


class SourceFormat(StrEnum):
    """The formats from which the lake is loaded."""

    PARQUET = "parquet"
    JSONL = "jsonl"


class Verify(StrEnum):
    """How closely a downloaded file is looked at before it gets its name."""

    FULL = "full"
    SIZE = "size"


def _named(name: str) -> AliasChoices:
    return AliasChoices(name, name.lower())


class Settings(BaseSettings):
    """All settings of the project."""

    model_config = SettingsConfigDict(
        env_prefix="DAP_PIPELINE_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        pyproject_toml_table_header=("tool", "dap_pipeline"),
    )

    api_url: str = Field(
        DEFAULT_API_URL,
        validation_alias=_named("DAP_API_URL"),
        description="Address of the DAP gateway.",
    )
    client_id: str = Field(
        "",
        validation_alias=_named("DAP_CLIENT_ID"),
        description="Client id of the DAP credentials.",
    )
    client_secret: SecretStr = Field(
        SecretStr(""),
        validation_alias=_named("DAP_CLIENT_SECRET"),
        description="Client secret of the DAP credentials.",
    )
    data_dir: Path = Field(
        Path("data"),
        description="Folder of lake, warehouse, staging, limiter and refreshed catalogue.",
    )
    source_format: SourceFormat = Field(
        SourceFormat.PARQUET, description="Format in which tables are fetched for the lake."
    )
    verify: Verify = Field(
        Verify.FULL,
        description="`full` decodes every byte of a download, `size` checks length and magic only.",
    )
    parallel_tables: PositiveInt = Field(10, description="Tables in flight at the same time.")
    connections: PositiveInt = Field(
        16, description="Downloads at the same time from one host, over all tables of a process."
    )
    job_timeout: PositiveFloat = Field(
        21_600.0, description="Seconds that one DAP job may take before the table fails."
    )
    retry_seconds: PositiveFloat = Field(
        600.0, description="Seconds over which one call is tried again before it fails."
    )
    retry_wait: PositiveFloat = Field(
        0.5, description="Seconds before the first new try of a call; then longer and longer."
    )
    job_retry_wait: PositiveFloat = Field(
        30.0, description="Seconds before a failed job is tried again; then twice as long."
    )
    idle_timeout: PositiveFloat = Field(
        60.0, description="Seconds without a byte after which an answer counts as stalled."
    )
    creates_per_minute: PositiveInt = Field(5, description="Job starts that DAP allows a minute.")
    polls_per_minute: PositiveInt = Field(500, description="Job polls that DAP allows a minute.")
    lists_per_minute: PositiveInt = Field(5, description="Table lists that DAP allows a minute.")
    schemas_per_minute: PositiveInt = Field(500, description="Schemas that DAP allows a minute.")
    links_per_minute: PositiveInt = Field(200, description="Link calls that DAP allows a minute.")
    keep_versions: Span = Field(
        timedelta(days=7),
        description="How long old versions of a table stay, as in `P7D` (ISO 8601).",
    )
    stale_after: Span = Field(
        timedelta(hours=36),
        description="How long after DAP was last asked for it a table counts as stale.",
    )
    duckdb_memory: str = Field(
        "400MB",
        pattern=r"^\d+(\.\d+)? ?([KMGT]i?)?B$",
        description="Memory that one rewrite in DuckDB may use before it spills to disk.",
    )
    duckdb_threads: PositiveInt = Field(2, description="Threads that one rewrite may use.")
    sandbox: bool = Field(
        False, description="Whether DAP_API_URL is the embedded service (set by `make dev`)."
    )
    demo_rows: PositiveInt = Field(
        200_000, description="Rows that the embedded service's school has in all."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, ``.env``, ``pyproject.toml``."""
        pyproject = PyprojectTomlConfigSettingsSource(settings_cls)
        return (init_settings, env_settings, dotenv_settings, pyproject)

    @property
    def lake_dir(self) -> Path:
        """Folder of the published tables, absolute."""
        return self.data_dir.absolute() / "lake"

    @property
    def staging_dir(self) -> Path:
        """Folder of downloads under way, absolute."""
        return self.data_dir.absolute() / "staging"

    @property
    def warehouse_file(self) -> Path:
        """The DuckDB file, absolute."""
        return self.data_dir.absolute() / "warehouse.duckdb"

    @property
    def catalogue_dir(self) -> Path:
        """Folder of the refreshed table schemas, absolute."""
        return self.data_dir.absolute() / "catalogue"

    @property
    def has_credentials(self) -> bool:
        """Whether both halves of the credentials are given."""
        return bool(self.client_id and self.client_secret.get_secret_value())


def load_settings(**overrides: object) -> Settings:
    """Read the settings; ``overrides`` win over every source.

    Raises:
        ConfigurationError: a value cannot be used; the text names the setting.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # checked by pydantic
    except ValidationError as error:
        # Only names and reasons: pydantic's own text would repeat the value, secrets included.
        problems = "; ".join(f"{_named_in(e['loc'])}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"a setting cannot be used: {problems}") from None
    except (ValueError, OSError) as error:
        # A settings file that is not text or not TOML; its words may be a secret's.
        raise ConfigurationError(
            f".env or pyproject.toml cannot be read ({type(error).__name__})",
            advice="Correct or remove the file in the working directory.",
        ) from None


def _named_in(place: tuple[int | str, ...]) -> str:
    name = str(place[0]) if place else "settings"
    return variable_of(name) if name in Settings.model_fields else name


def variable_of(field: str) -> str:
    """Name the environment variable of a setting."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return f"DAP_PIPELINE_{field}".upper()
