"""A service whose table `users` has another generation of rows after every step."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.faults import Faults
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.sandbox.store import Store, naive
from dap_pipeline_tests.sandbox import small_school
from dap_pipeline_tests.sandbox.caller import Caller

from .service import HASTE

ROWS = small_school.USERS


@dataclass
class Generations:
    """The service, and the generation of its rows; 0 is the first.

    With `ballast`, each name is followed by so many times 128 letters that cannot be packed.
    """

    sandbox: RunningSandbox
    faults: Faults
    ballast: int = 0
    number: int = 0

    def step(self) -> None:
        """Let a day and an hour pass: all rows are written anew, and all jobs are forgotten."""
        self.number += 1
        self.sandbox.advance(25)

    def prepare(self, format: str = "parquet") -> None:
        """Have the job of the next load done already: it is not what is tried here."""
        Caller(self.sandbox).ended_job("users", format=format)

    def environment(self, data: Path, **more: str) -> dict[str, str]:
        """Write the settings that lead to this service."""
        return {
            "DAP_API_URL": self.sandbox.url,
            "DAP_CLIENT_ID": self.sandbox.client_id,
            "DAP_CLIENT_SECRET": self.sandbox.client_secret,
            "DAP_PIPELINE_DATA_DIR": str(data),
            **HASTE,
            **more,
        }

    def rows(self, number: int) -> list[tuple[object, ...]]:
        """Give the rows of a generation as they are published."""
        return [(key, self.name(key, number), "registered") for key in range(1, ROWS + 1)]

    def name(self, key: int, number: int) -> str:
        """Name a user of a generation."""
        if not number:
            return f"User {key}"
        seeds = (f"{key} {number} {block}".encode() for block in range(self.ballast))
        ballast = "".join(hashlib.sha512(seed).hexdigest() for seed in seeds)
        return f"User {key} of generation {number}{ballast}"


@contextlib.contextmanager
def running_generations(folder: Path, ballast: int = 0) -> Iterator[Generations]:
    """Run the service."""
    faults = Faults()
    found: list[Generations] = []

    def next_generation(store: Store, now: datetime) -> None:
        school = found[0]
        names = [school.name(key, school.number) for key in range(1, ROWS + 1)]
        with store.transaction() as cursor:
            # All in one: a statement for each would take most of a step.
            cursor.execute(
                "UPDATE canvas.users SET meta_ts = $now, name = list_extract($names, id)",
                {"now": naive(now), "names": names},
            )

    config = SandboxConfig(folder, rate_limits=False, rows_per_part=25, job_polls=0)
    with small_school.running(config, advance=next_generation, interceptors=(faults,)) as sandbox:
        found.append(Generations(sandbox, faults, ballast))
        yield found[0]
