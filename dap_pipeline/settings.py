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

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
)
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
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _as_seconds(value: object) -> object:
    """Take a bare number for seconds: what comes from the environment is text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _a_day_or_nothing(value: timedelta) -> timedelta:
    """Refuse a span so short that a load of all tables outlasts it, before it is registered."""
    if timedelta() < value < timedelta(days=1):
        raise ValueError("it must be a day at least, or P0D")
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


class LimitsCount(StrEnum):
    """Who shares one budget of calls."""

    ACCOUNT = "account"
    TABLE = "table"


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
        description="Folder of lake, warehouse, staging and refreshed catalogue.",
    )
    shared_dir: Path | None = Field(
        None,
        description="Folder of what all runs of a user on a machine share, whatever their data "
        "folder: the calls of the last minute, and the connections. Else the user's state folder.",
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
        16, description="Downloads at the same time, over all tables of all runs of the machine."
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
    limits_count: LimitsCount = Field(
        LimitsCount.ACCOUNT,
        description="Whether an `account` or each `table` has the calls above; DAP does not say.",
    )
    keep_versions: Annotated[Span, AfterValidator(_a_day_or_nothing)] = Field(
        timedelta(days=7),
        description="How long old versions of a table stay, as in `P7D` (ISO 8601): a day or more. "
        "`P0D` removes them at once, while queries and the warehouse may still need them.",
    )
    keep_changes: Span = Field(
        timedelta(days=30),
        description="How long it stays on record what an increment changed, as in `P30D`.",
    )
    increment_overlap: Span = Field(
        timedelta(),
        description="How far an increment reaches back before the last load, as in `PT1H`.",
    )
    log_retention: Span = Field(
        timedelta(days=30),
        description="How long DAP keeps the rows of canvas_logs: what is older can be lost.",
    )
    full_snapshot_every: Span = Field(
        timedelta(days=30),
        description="How often the schedules take a table as a snapshot; `P0D` is never, and less "
        "than the time between two refreshes is at each.",
    )
    stale_after: Span = Field(
        timedelta(),
        description="How long after DAP was last asked for it a table counts as stale; `P0D` is "
        "two of DAP's refreshes and 4 hours.",
    )
    stale_after_of: str = Field(
        "", description="The same for some tables, as in `canvas=PT12H,canvas_logs=P3D`."
    )
    contract: str = Field(
        "",
        description="What a change of schema does, as in `canvas=warn,canvas.users=freeze`: "
        "`evolve` follows it, `warn` follows it and fails a check, `freeze` fails the load.",
    )
    row_change_warn: Share = Field(
        0.5,
        description="Share of its rows by which a load may change a table before a check warns; "
        "0 is any.",
    )
    row_change_fail: Share = Field(
        0.0,
        description="Share of its rows by which a snapshot may change a table before it is "
        "refused; 0 is any.",
    )
    may_be_empty: str = Field(
        "",
        description="Tables that a snapshot may leave without rows, as in `canvas.pseudonyms`.",
    )
    reference_rows: int = Field(
        100_000,
        ge=0,
        description="Rows of a table whose references are checked; 0 checks those of all rows.",
    )
    mask: str = Field(
        "",
        description="Columns that are kept out of the lake, as in "
        "`canvas.users.name=null,catalog.*.email=hash`: drop, hash, null or keep.",
    )
    mask_people: bool = Field(
        False, description="Whether the ready list of columns that identify people is masked."
    )
    mask_key: SecretStr = Field(
        SecretStr(""), description="Key of hashed columns, 16 characters or more; keep it safe."
    )
    preview_rows: int = Field(
        0,
        ge=0,
        le=100,
        description="Rows of each load that Dagster's event log shows and keeps; 5 in `make dev`.",
    )
    ui_url: str = Field(
        "http://localhost:3000", description="Address of Dagster's UI, for the links of alerts."
    )
    alert_hook: str = Field(
        "", description="Your function that is told what failed, as in `school.alerts:tell`."
    )
    alert_warnings: bool = Field(
        False, description="Whether failed checks that only warn are told, too."
    )
    alert_slack_channel: str = Field(
        "", description="Slack channel that is told what failed, as in `#data`."
    )
    alert_slack_token: SecretStr = Field(SecretStr(""), description="Token of the Slack app.")
    alert_email_to: str = Field(
        "", description="E-mail addresses that are told what failed, apart by commas."
    )
    alert_email_from: str = Field("", description="Address that alerts are sent from.")
    alert_smtp_host: str = Field("localhost", description="Mail server for alerts.")
    alert_smtp_port: PositiveInt = Field(25, description="Port of the mail server.")
    alert_smtp_user: str = Field(
        "", description="Login at the mail server; else the address that alerts are sent from."
    )
    alert_smtp_password: SecretStr = Field(
        SecretStr(""), description="Password at the mail server; with one, STARTTLS is required."
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
