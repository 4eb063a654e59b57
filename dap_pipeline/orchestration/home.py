"""Where Dagster keeps its history, and the settings that its processes are given."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import SecretStr

from dap_pipeline.errors import ConfigurationError, StorageError
from dap_pipeline.settings import Settings, variable_of

MODULE = "dap_pipeline.definitions"
LOCATION = "dap_pipeline"

# More than the embedded service is ever asked; DAP's own limits would stretch 119 tables over
# half an hour.
_NO_LIMIT = 1_000_000

_PREVIEW_OF_MADE_UP_ROWS = 5

_INSTANCE = "dagster.yaml"
_WORKSPACE = "workspace.yaml"
# Where the project's own file is not at hand, as after an installation from a wheel.
_PLAIN_INSTANCE = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


def home_of(settings: Settings) -> Path:
    """Give the folder of Dagster's history: one for DAP, another for the embedded service."""
    return Path(".dagster", "sandbox" if settings.sandbox else "dap").absolute()


def prepare_home(home: Path) -> None:
    """Make the folder, readable by its owner only, and put Dagster's own settings into it.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (home.parent, home):
            folder.chmod(0o700)
        if Path(_INSTANCE).is_file():
            shutil.copyfile(_INSTANCE, home / _INSTANCE)
        else:
            (home / _INSTANCE).write_text(_PLAIN_INSTANCE)
        (home / _WORKSPACE).write_text(
            "load_from:\n"
            "  - python_module:\n"
            f"      module_name: {MODULE}\n"
            f"      location_name: {LOCATION}\n"
        )
    except OSError as error:
        raise StorageError(
            f"Dagster's folder {home} cannot be written: {error.strerror}",
            advice="Make it writable, then run it again.",
        ) from error


@contextmanager
def using_home(home: Path) -> Iterator[None]:
    """Hold the folder: two Dagsters over one history disturb each other.

    Raises:
        ConfigurationError: another one holds it.
    """
    lock = FileLock(home / ".in-use.lock", timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigurationError(
            f"Dagster is running already with the history in {home}",
            advice="Use that one, or stop it first.",
        ) from None
    try:
        yield
    finally:
        lock.release()


def sandbox_settings(settings: Settings) -> Settings:
    """Give the settings for the embedded service, without an address or credentials yet.

    Its data lies in a folder of its own, so that it never meets a school's.
    """
    return settings.model_copy(
        update={
            "sandbox": True,
            "data_dir": settings.data_dir.absolute() / "sandbox",
            "api_url": "",
            "client_id": "",
            "client_secret": SecretStr(""),
            "preview_rows": settings.preview_rows or _PREVIEW_OF_MADE_UP_ROWS,
            "creates_per_minute": _NO_LIMIT,
            "polls_per_minute": _NO_LIMIT,
            "lists_per_minute": _NO_LIMIT,
            "schemas_per_minute": _NO_LIMIT,
            "links_per_minute": _NO_LIMIT,
        }
    )


def school_folder(settings: Settings) -> Path:
    """Give the folder where the embedded service keeps its school, jobs and credentials."""
    return settings.data_dir.absolute() / "school"


def environment_of(settings: Settings) -> dict[str, str]:
    """Write the settings as environment variables, the data folder as an absolute path."""
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    plain = settings.model_dump(mode="json")
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        # A dump has stars in place of a secret.
        plain[name] = value.get_secret_value() if isinstance(value, SecretStr) else plain[name]
    return {variable_of(name): _text(value) for name, value in plain.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
