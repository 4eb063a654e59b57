"""Searches every byte that is kept for one person whose values occur nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.engine import Engine
from dap_pipeline.orchestration.home import environment_of
from dap_pipeline.orchestration.wiring import build_definitions
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.school import CANARY
from dap_pipeline.sandbox.serve import RunningSandbox, running_sandbox
from dap_pipeline.settings import Settings
from dap_pipeline.warehouse import build_warehouse

from .school import materialize, settings_for

pytestmark = pytest.mark.slow

KEY = "the key that the school keeps safe"
VALUES = (
    CANARY.name,
    CANARY.sortable_name,
    CANARY.short_name,
    CANARY.login,
    CANARY.email,
    CANARY.sis_user_id,
    CANARY.phone,
    CANARY.ip,
)
TABLES = (
    ("canvas", "users"),
    ("canvas", "pseudonyms"),
    ("canvas", "communication_channels"),
    ("canvas", "submissions"),
    ("canvas", "conversation_messages"),
    ("canvas_logs", "web_logs"),
    ("catalog", "users"),
    ("catalog", "orders"),
)


@dataclass(frozen=True)
class Place:
    settings: Settings
    history: Path


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    config = SandboxConfig(
        tmp_path_factory.mktemp("school"), rate_limits=False, rows=20_000, job_polls=0
    )
    with running_sandbox(config) as running:
        yield running


def loaded(
    school: RunningSandbox, folder: Path, monkeypatch: pytest.MonkeyPatch, **more: object
) -> Place:
    """Load the tables through Dagster with a preview, register them, keep all history."""
    settings = settings_for(school, folder).model_copy(update={"preview_rows": 100, **more})
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    history = folder / "history"
    history.mkdir()
    keys = [dg.AssetKey(list(table)) for table in TABLES]
    with dg.instance_for_test(temp_dir=str(history)) as instance:
        definitions = build_definitions(settings)
        assert materialize(definitions, keys, instance).success
        views = [key.with_prefix("duckdb") for key in keys]
        assert materialize(definitions, views, instance).success
    return Place(settings, history)


def found_in(*folders: Path) -> dict[str, set[str]]:
    """Name the files that hold a value: in their bytes, or in a cell of their Parquet."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for file in (file for file in folder.rglob("*") if file.is_file()):
            texts = file.read_bytes()
            if file.suffix == ".parquet":
                texts += str(pq.read_table(file).to_pylist()).encode()
            for value in VALUES:
                if value.encode() in texts:
                    found.setdefault(value, set()).add(str(file.relative_to(folder)))
    return found


def test_without_masks_the_search_finds_every_value(
    school: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = loaded(school, tmp_path, monkeypatch)
    assert found_in(place.settings.data_dir).keys() == set(VALUES)


def test_with_the_ready_list_no_byte_tells_the_person(
    school: RunningSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    place = loaded(school, tmp_path, monkeypatch, mask_people=True, mask_key=_secret())
    assert found_in(place.settings.data_dir, place.history) == {}
    assert not list(place.settings.staging_dir.rglob("*.parquet"))
    written = "".join(capfd.readouterr())
    assert not [value for value in (*VALUES, KEY) if value in written]
    for file in (*place.settings.data_dir.rglob("*"), *place.history.rglob("*")):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def test_hashes_of_one_value_join_two_tables(school: RunningSandbox, tmp_path: Path) -> None:
    import duckdb

    settings = settings_for(school, tmp_path).model_copy(
        update={"mask_people": True, "mask_key": _secret()}
    )
    names = [("canvas", "users"), ("canvas", "communication_channels"), ("catalog", "users")]
    with Engine.open(settings) as engine:
        for name in names:
            engine.load(TableName(*name))
        build_warehouse(engine.lake, settings.warehouse_file)
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as warehouse:
        query = (
            "SELECT count(*) FROM canvas.communication_channels c"
            " JOIN catalog.users u ON u.email_address = c.path"
        )
        [(joined,)] = warehouse.execute(query).fetchall()
        marks = warehouse.execute(
            "SELECT masked FROM dap.columns WHERE table_name = 'users' AND name = 'sortable_name'"
        ).fetchall()
    assert joined > 0
    assert marks == [("null",)]


@pytest.mark.parametrize("keep", [timedelta(days=7), timedelta()])
def test_turning_masks_on_takes_a_snapshot_and_old_values_stay_as_long_as_versions_do(
    school: RunningSandbox, tmp_path: Path, keep: timedelta
) -> None:
    plain = settings_for(school, tmp_path)
    name = TableName("canvas", "users")
    with Engine.open(plain) as engine:
        engine.load(name)
    masked = plain.model_copy(
        update={"mask_people": True, "mask_key": _secret(), "keep_versions": keep}
    )
    with Engine.open(masked) as engine:
        result = engine.load(name)
        again = engine.load(name)
    assert result.outcome == "loaded"
    assert again.outcome == "unchanged"
    assert (CANARY.name in found_in(plain.lake_dir)) == bool(keep)


def test_a_failed_load_of_a_masked_table_leaves_no_parts(
    school: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(school, tmp_path).model_copy(
        update={"mask_people": True, "mask_key": _secret()}
    )
    name = TableName("canvas", "users")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with Engine.open(settings) as engine:
        monkeypatch.setattr(engine.lake, "publish", full)
        with pytest.raises(Exception, match="No space left"):
            engine.load(name)
    assert found_in(settings.data_dir) == {}


def _secret() -> object:
    from pydantic import SecretStr

    return SecretStr(KEY)
