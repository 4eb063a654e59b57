"""The names that tables have in Dagster."""

from __future__ import annotations

import re

import dagster as dg

from dap_pipeline.dap.models import TableName

DUCKDB = "duckdb"
"""Group and first part of the keys of the tables as registered in DuckDB."""

_PARTS_OF_VIEW = 3


def table_key(name: TableName) -> dg.AssetKey:
    """Give the key of a table's asset."""
    return dg.AssetKey([name.namespace, name.table])


def view_key(name: TableName) -> dg.AssetKey:
    """Give the key of a table's registration in DuckDB."""
    return dg.AssetKey([DUCKDB, name.namespace, name.table])


def is_view(key: dg.AssetKey) -> bool:
    """Tell whether a key is that of a table's registration in DuckDB."""
    return len(key.path) == _PARTS_OF_VIEW


def op_of(name: TableName) -> str:
    """Give the name that a table's asset has in the configuration of a run."""
    return table_key(name).to_python_identifier()


def namespace_key(namespace: str) -> dg.AssetKey:
    """Give the key of the asset that shows a namespace as a whole."""
    return dg.AssetKey([DUCKDB, namespace])


def group_of(name: TableName) -> str:
    """Give the group of a table's asset: its namespace, in the letters that Dagster permits."""
    return re.sub(r"\W", "_", name.namespace)
