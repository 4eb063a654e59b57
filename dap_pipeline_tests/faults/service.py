"""The service that the suite works against, and the secrets that it gave away."""

from __future__ import annotations

import base64
import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from starlette.responses import JSONResponse, Response

from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.faults import Fault, Faults, JobFault
from dap_pipeline.sandbox.faults_links import OtherHost, other_host
from dap_pipeline.sandbox.interceptors import Call, Interceptor, Proceed
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.sandbox.store import Store
from dap_pipeline_tests.sandbox import small_school

TABLES = ("everything", "nothing", "users")

# Time is scaled: what takes seconds and minutes in earnest takes some hundredths here.
HASTE: Mapping[str, str] = {
    "DAP_PIPELINE_RETRY_WAIT": "0.01",
    "DAP_PIPELINE_JOB_RETRY_WAIT": "0.05",
    "DAP_PIPELINE_RETRY_SECONDS": "20",
    "DAP_PIPELINE_IDLE_TIMEOUT": "20",
    "DAP_PIPELINE_JOB_TIMEOUT": "60",
    "DAP_PIPELINE_CREATES_PER_MINUTE": "100000",
    "DAP_PIPELINE_LISTS_PER_MINUTE": "100000",
    "DAP_PIPELINE_DUCKDB_THREADS": "1",
}

_TOKEN = re.compile(r'"access_token": ?"([^"]+)"')
_SIGNATURE = re.compile(r"X-Amz-Signature=([0-9a-f]{16,})")


class Canaries(Interceptor):
    """Remembers every token and signature that the service gives out."""

    def __init__(self) -> None:
        self.words: set[str] = set()

    async def answer(self, call: Call, proceed: Proceed) -> Response:
        """Look into the answers that hold a secret."""
        answer = await proceed()
        if isinstance(answer, JSONResponse):
            text = bytes(answer.body).decode()
            self.words.update(_TOKEN.findall(text), _SIGNATURE.findall(text))
        return answer


@dataclass
class School:
    """A running service of three tables in `canvas`, whose faults can be switched on."""

    sandbox: RunningSandbox
    folder: Path
    faults: Faults
    canaries: Canaries
    host: OtherHost
    secret: str = field(init=False)

    def __post_init__(self) -> None:
        self.secret = self.sandbox.client_secret

    def begin(self, *faults: Fault | JobFault) -> None:
        """Forget all jobs and calls, and strike with these faults from now on."""
        self.sandbox.advance(25)
        self.host.seen.clear()
        self.canaries.words.clear()
        self.faults.switch_on(*faults)

    @property
    def calls(self) -> Counter[Endpoint]:
        """Count the calls since the beginning."""
        return Counter(made.call.endpoint for made in self.faults.calls)

    @property
    def jobs(self) -> list[str]:
        """List the jobs that there are."""
        return sorted(folder.name for folder in (self.folder / "objects").iterdir())

    def environment(self, data: Path, **more: str) -> dict[str, str]:
        """Write the settings that lead to this service, as a user would."""
        return {
            "DAP_API_URL": self.sandbox.url,
            "DAP_CLIENT_ID": self.sandbox.client_id,
            "DAP_CLIENT_SECRET": self.secret,
            "DAP_PIPELINE_DATA_DIR": str(data),
            **HASTE,
            **more,
        }

    def secrets(self) -> list[bytes]:
        """List all that may be written nowhere, as it would be written."""
        both = f"{self.sandbox.client_id}:{self.secret}".encode()
        return [word.encode() for word in (*self.canaries.words, self.secret)] + [
            base64.b64encode(both)
        ]


@contextlib.contextmanager
def running_school(folder: Path) -> Iterator[School]:
    """Run the service."""
    faults, canaries = Faults(), Canaries()
    wanted = SandboxConfig(folder, rate_limits=False, rows_per_part=25, job_polls=0)
    with (
        small_school.running(
            wanted,
            advance=_stand_still,
            interceptors=(faults, canaries),
        ) as sandbox,
        other_host() as host,
    ):
        yield School(sandbox, folder, faults, canaries, host)


def _stand_still(store: Store, now: datetime) -> None:
    """Let time pass in a school where nothing happens."""
