"""Runs a command and waits for every process that it leaves behind, so that all are measured.

``python -m benchmarks.with_descendants <command> …``. Dagster forks its steps from a server that
ends after the run and that nobody waits for.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence

# From <sys/prctl.h>: processes whose parent has ended become children of this one.
_SET_CHILD_SUBREAPER = 36


def main(command: Sequence[str]) -> int:
    """Give the command's exit code."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this system cannot follow orphaned processes")
    code = subprocess.run(command, check=False).returncode  # the caller's own command
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
