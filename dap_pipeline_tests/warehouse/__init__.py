"""Tests of dap_pipeline.warehouse."""
