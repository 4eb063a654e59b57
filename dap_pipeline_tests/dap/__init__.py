"""Tests of dap_pipeline.dap."""
