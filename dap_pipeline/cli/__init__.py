"""The command line `dap-pipeline`."""

import gc

# Before the imports, whose many objects are looked through for garbage time and again: a sixth of
# the start. A command holds little that refers to itself.
gc.set_threshold(50_000, 20, 20)

from dap_pipeline.cli.main import main  # noqa: E402

__all__ = ["main"]
