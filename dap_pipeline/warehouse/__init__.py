"""Builds the DuckDB file from the lake."""

from dap_pipeline.warehouse.build import RegisteredTable, WarehouseReport, build_warehouse
from dap_pipeline.warehouse.reading import LeftOut

__all__ = ["LeftOut", "RegisteredTable", "WarehouseReport", "build_warehouse"]
