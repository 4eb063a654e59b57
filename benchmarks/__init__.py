"""Measures this pipeline against the official client and against what machine and DAP allow."""
