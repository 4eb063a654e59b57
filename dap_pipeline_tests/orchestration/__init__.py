"""Tests of dap_pipeline.orchestration."""
