"""Tests of dap_pipeline.sandbox."""
