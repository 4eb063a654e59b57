"""Runs one command and tells what it took, as JSON, from a process that is small itself.

``python -I -S launcher.py <log> <command> …``. A process counts as its own peak what the one that
started it held at that moment, so a contender is not started by the bench, which has grown large.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_SAMPLED_EVERY = 0.05


class Sampler(threading.Thread):
    """Looks from outside at how many threads and open files a process has."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._folder = Path(f"/proc/{pid}")
        self.ending = threading.Event()
        self.threads = self.files = 0

    def run(self) -> None:
        """Look until the process has ended."""
        while not self.ending.wait(_SAMPLED_EVERY):
            self.look()

    def look(self) -> None:
        """Count once."""
        # The process may end at any moment.
        with contextlib.suppress(OSError):
            self.threads = max(self.threads, len(list((self._folder / "task").iterdir())))
            self.files = max(self.files, len(list((self._folder / "fd").iterdir())))


def main(log: str, command: Sequence[str]) -> None:
    """Run the command where this process runs; what it says goes to the log."""
    with Path(log).open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    sampler = Sampler(process.pid)
    sampler.start()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    # `wait4` has taken the code that `Popen` would look for.
    process.returncode = os.waitstatus_to_exitcode(status)
    sampler.ending.set()
    sampler.join()
    told = {
        "code": process.returncode,
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
        "threads": sampler.threads,
        "files": sampler.files,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
