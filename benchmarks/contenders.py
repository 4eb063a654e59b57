"""Runs a command line as a contender: ours, the official client, plain threads."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from benchmarks.harness import ROOT, Taken
from benchmarks.service import RunningService

OURS = (str(Path(sys.executable).with_name("dap-pipeline")), "--quiet")
_OFFICIAL_VERSION = ROOT / "dap_pipeline_tests" / "official-client.txt"
_OFFICIAL = ROOT / ".venv-official"


def official_dap() -> str:
    """Give the official client's command, installed on first use where the tests have it too."""
    wanted = _OFFICIAL_VERSION.read_text()
    environment, mark = _OFFICIAL / "environment", _OFFICIAL / "installed.txt"
    _OFFICIAL.mkdir(exist_ok=True)
    with FileLock(_OFFICIAL / "lock"):
        if not mark.exists() or mark.read_text() != wanted:
            mark.unlink(missing_ok=True)
            python = str(environment / "bin" / "python")
            make = [sys.executable, "-m", "venv", "--clear", str(environment)]
            fill = [python, "-m", "pip", "install", "--quiet", "-r", str(_OFFICIAL_VERSION)]
            for command in (make, fill):
                subprocess.run(command, check=True)  # named above
            mark.write_text(wanted)
    return str(environment / "bin" / "dap")


def timed(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    service: RunningService | None = None,
) -> Taken:
    """Run a command in a folder and measure it, with all the processes that it waits for.

    Raises:
        RuntimeError: it failed; the text ends with what it said.
    """
    log = folder / "log.txt"
    with log.open("w") as output:
        before = service.cpu_seconds() if service else 0.0
        began = time.perf_counter()
        process = subprocess.Popen(  # the contenders are named in this package
            command, env=dict(environment), cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    # `wait4` has taken the code that `Popen` would look for.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        told = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{Path(command[0]).name} ended with {process.returncode}: {told}")
    served = service.cpu_seconds() - before if service else 0.0
    return Taken(
        seconds,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 1024,
        served / (seconds * (os.cpu_count() or 1)),
    )
