from __future__ import annotations

import base64
import sys
from pathlib import Path

import dagster as dg
import pytest

from dap_pipeline.settings import Settings

from .school import USERS, WEB_LOGS, materialize

CANVAS = dg.AssetKey(["duckdb", "canvas"])
CATALOG = dg.AssetKey(["duckdb", "catalog"])


def made(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, object]:
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key == key]
    assert isinstance(event.materialization, dg.AssetMaterialization)
    return {name: item.value for name, item in event.materialization.metadata.items()}


def test_a_namespace_shows_its_published_tables_as_a_picture(
    definitions: dg.Definitions, instance: dg.DagsterInstance, settings: Settings
) -> None:
    pytest.importorskip("pygraphviz", reason="pictures are drawn by pygraphviz")
    materialize(definitions, [USERS, WEB_LOGS], instance)
    metadata = made(materialize(definitions, [CANVAS], instance), CANVAS)
    assert metadata["tables"] == 1
    assert metadata["rows"] == 60
    markdown = str(metadata["picture"])
    data = markdown.removesuffix(")").partition("base64,")[2]
    file = settings.data_dir / "diagrams" / "canvas.svg"
    assert base64.b64decode(data) == file.read_bytes()
    assert Path(str(metadata["picture_file"])) == file
    assert b"users" in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0


def test_a_namespace_without_tables_is_skipped(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    result = materialize(definitions, [CATALOG], instance)
    assert result.success
    assert not result.get_asset_materialization_events()


def test_without_the_library_the_numbers_are_there_and_the_log_tells_how_to_get_the_picture(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    materialize(definitions, [USERS], instance)
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    result = materialize(definitions, [CANVAS], instance)
    assert result.success
    assert set(made(result, CANVAS)) == {"tables", "rows", "bytes"}
    told = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert any("pip install 'dap-pipeline[diagrams]'" in line for line in told)
