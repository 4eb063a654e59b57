"""Runs a command line as a contender: ours, the official client, plain threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from benchmarks import launcher as launching
from benchmarks.harness import ROOT, Taken

OURS = (str(Path(sys.executable).with_name("dap-pipeline")), "--quiet")
LOG = "log.txt"
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


class Service(Protocol):
    """A service that a contender asks."""

    def cpu_seconds(self) -> float:
        """Give the processor time that it has used so far."""


def timed(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    service: Service | None = None,
) -> Taken:
    """Run a command in a folder and measure it, with all the processes that it waits for.

    Raises:
        RuntimeError: it failed; the text ends with what it said.
    """
    log = folder / LOG
    before = service.cpu_seconds() if service else 0.0
    launcher = [sys.executable, "-I", "-S", launching.__file__, str(log), *command]
    launched = subprocess.run(
        launcher, env=dict(environment), cwd=folder, stdout=subprocess.PIPE, check=True
    )
    told = json.loads(launched.stdout)
    if code := told.pop("code"):
        said = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{Path(command[0]).name} ended with {code}: {said}")
    served = service.cpu_seconds() - before if service else 0.0
    share = served / (told["seconds"] * (os.cpu_count() or 1))
    return Taken(**told, service_share=share)


def by_its_own_clock(taken: Taken, folder: Path) -> Taken:
    """Take the seconds that the contender has printed: without the start of its Python."""
    return replace(taken, seconds=float((folder / LOG).read_text()))
