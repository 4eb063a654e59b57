"""Tests of dap_pipeline.lake."""
