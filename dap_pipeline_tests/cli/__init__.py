"""Tests of dap_pipeline.cli."""
