"""Runs the command line as a user does: a process of its own, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dap_pipeline.sandbox.serve import RunningSandbox


@dataclass(frozen=True)
class Shell:
    """A folder, and the environment that commands find there."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `dap-pipeline` with the words; `more` are further variables."""
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env={**self.environment, **more},
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `dap-pipeline` and go on."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def command(self, *words: str) -> list[str]:
        """Give the words of the whole command."""
        return [sys.executable, "-m", "dap_pipeline.cli", *words]


def clean_environment() -> dict[str, str]:
    """Give this process's environment without any setting of the project."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DAP_", "DAGSTER_"))}


def shell_for(sandbox: RunningSandbox, folder: Path) -> Shell:
    """Give a shell whose variables name the sandbox, as a user would set them."""
    folder.mkdir(exist_ok=True)
    return Shell(
        folder,
        {
            **clean_environment(),
            "DAP_API_URL": sandbox.url,
            "DAP_CLIENT_ID": sandbox.client_id,
            "DAP_CLIENT_SECRET": sandbox.client_secret,
            # The service counts nothing here; the documented limits would cost minutes.
            "DAP_PIPELINE_CREATES_PER_MINUTE": "1000",
            "DAP_PIPELINE_LISTS_PER_MINUTE": "1000",
        },
    )
