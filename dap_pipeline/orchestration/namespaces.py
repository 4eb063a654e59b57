"""An asset for each namespace: how its tables hang together, as a picture.

It is renewed with the registration in DuckDB, and costs no run or step of its own.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import MetadataValue

from dap_pipeline.dap.catalogue import Catalogue
from dap_pipeline.errors import ConfigurationError
from dap_pipeline.orchestration.naming import DUCKDB, namespace_key, table_key
from dap_pipeline.settings import Settings

if TYPE_CHECKING:
    from dap_pipeline.warehouse import RegisteredTable

_LARGEST_IN_THE_UI = 400_000
"""Bytes of a picture that Dagster's event log keeps with each registration."""


def namespace_specs(
    catalogue: Catalogue, condition: dg.AutomationCondition[Any]
) -> list[dg.AssetSpec]:
    """Describe the asset of each namespace."""
    return [
        dg.AssetSpec(
            namespace_key(namespace),
            deps=[table_key(name) for name in catalogue.names(namespace)],
            group_name=DUCKDB,
            kinds={DUCKDB},
            description=f"The tables of {namespace} and what they refer to, as a picture.",
            automation_condition=condition,
            skippable=True,
        )
        for namespace in catalogue.namespaces
    ]


def namespace_results(
    context: dg.AssetExecutionContext, tables: Sequence[RegisteredTable], settings: Settings
) -> Iterator[dg.MaterializeResult[None]]:
    """Draw the selected namespaces that have published tables; a fault in it fails nothing."""
    for namespace in sorted({table.name.namespace for table in tables}):
        if namespace_key(namespace) not in context.selected_asset_keys:
            continue
        members = [table for table in tables if table.name.namespace == namespace]
        metadata = {
            "tables": len(members),
            "rows": sum(each.table.rows for each in members),
            "bytes": sum(each.table.bytes for each in members),
        }
        picture: dict[str, MetadataValue | int] = {}
        try:
            picture = _picture(namespace, members, settings.data_dir.absolute() / "diagrams")
        except ConfigurationError as error:
            context.log.info(str(error))
        except Exception as error:
            context.log.warning(f"{namespace} could not be drawn: {error!r}")
        yield dg.MaterializeResult(
            asset_key=namespace_key(namespace), metadata={**metadata, **picture}
        )


def _picture(
    namespace: str, members: Sequence[RegisteredTable], folder: Path
) -> dict[str, MetadataValue | int]:
    from dap_pipeline.lake.diagrams import draw

    picture = draw([(each.name, each.table.shape) for each in members])
    known: dict[str, MetadataValue | int] = {
        "references": picture.references,
        "picture_file": MetadataValue.path(_write(folder / f"{namespace}.svg", picture.svg)),
    }
    data = base64.b64encode(picture.svg.encode()).decode()
    if len(data) <= _LARGEST_IN_THE_UI:
        known["picture"] = MetadataValue.md(f"![{namespace}](data:image/svg+xml;base64,{data})")
    return known


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    new.replace(file)
    return file
