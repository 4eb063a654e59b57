"""The command line `dap-pipeline`."""

from dap_pipeline.cli.main import main

__all__ = ["main"]
