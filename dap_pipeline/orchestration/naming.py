"""The names that tables have in Dagster."""

from __future__ import annotations

import re

import dagster as dg

from dap_pipeline.dap.models import TableName

DUCKDB = "duckdb"
"""Group and first part of the keys of the tables as registered in DuckDB."""


def table_key(name: TableName) -> dg.AssetKey:
    """Give the key of a table's asset."""
    return dg.AssetKey([name.namespace, name.table])


def view_key(name: TableName) -> dg.AssetKey:
    """Give the key of a table's registration in DuckDB."""
    return dg.AssetKey([DUCKDB, name.namespace, name.table])


def group_of(name: TableName) -> str:
    """Give the group of a table's asset: its namespace, in the letters that Dagster permits."""
    return re.sub(r"\W", "_", name.namespace)
