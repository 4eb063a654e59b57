"""Builds the DuckDB file from the lake."""

from dap_pipeline.warehouse.build import RegisteredTable, WarehouseReport, build_warehouse

__all__ = ["RegisteredTable", "WarehouseReport", "build_warehouse"]
