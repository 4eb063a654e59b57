"""The embedded service with files that were ready beforehand, in a process of its own.

`running_service` starts ``service_process.py``. Its protocol is that of the embedded service; only
the work of a job is replaced: it lasts as long as it is told to and then hands out files that lie
there already, through a server that is never the bottleneck.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from benchmarks.file_server import Network
from benchmarks.harness import ROOT

NAMESPACE = "canvas"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ReadyTable:
    """A table of namespace `canvas`: its schema, its files, and how long a job of it takes."""

    name: str
    files: tuple[str, ...] = ()
    """Absolute paths; all formats give these very files."""
    seconds: float = 0.0
    schema: dict[str, Any] = field(default_factory=dict)
    """The JSON Schema as DAP gives it; else one of a key and a text."""
    version: int = 1


@dataclass(frozen=True)
class ServiceSpec:
    """What the service is like."""

    folder: Path
    """Where it keeps its own things; on the file system of the files."""
    tables: tuple[ReadyTable, ...]
    limits: bool = False
    """Whether the documented limits hold."""
    time_scale: float = 1.0
    """How many times faster than real time the limits' minute passes."""
    network: Network = field(default_factory=Network)


@dataclass(frozen=True)
class RunningService:
    """A service that answers."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    pid: int

    def environment(self, data: Path, **more: str) -> dict[str, str]:
        """Give the settings that lead here, for a process that knows no others."""
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "DAP_API_URL": self.url,
            "DAP_CLIENT_ID": self.client_id,
            "DAP_CLIENT_SECRET": self.client_secret,
            "DAP_PIPELINE_DATA_DIR": str(data),
            # For the contenders of this package.
            "PYTHONPATH": str(ROOT),
            **more,
        }

    def cpu_seconds(self) -> float:
        """Give the processor time that the service has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def requests(self) -> dict[str, int]:
        """Give the number of requests that each endpoint has had."""
        answer = requests.get(f"{self.url}/sandbox/requests", timeout=30).json()
        counts: dict[str, int] = answer["requests"]
        return counts

    def rate_limited(self) -> int:
        """Give the number of requests that were answered with 429."""
        answer = requests.get(f"{self.url}/sandbox/requests", timeout=30).json()
        return sum(answer["rate_limited"].values())


@contextlib.contextmanager
def running_service(spec: ServiceSpec) -> Iterator[RunningService]:
    """Run the service in a process of its own while the block runs."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    told = {**asdict(spec), "folder": str(spec.folder)}
    file = spec.folder / "spec.json"
    file.write_text(json.dumps(told))
    process = subprocess.Popen(  # our own interpreter with our own arguments
        [sys.executable, "-m", "benchmarks.service_process", str(file)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout  # noqa: S101  # it was opened as a pipe
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the service did not start")
        yield RunningService(**json.loads(line), pid=process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        with process:
            process.wait(30)


def numbered(count: int) -> list[str]:
    """Give names for so many tables, in their order."""
    return [f"table_{number:05d}" for number in range(count)]


def object_schema(**properties: dict[str, Any]) -> dict[str, Any]:
    """Write the JSON Schema of an object with these members and no others."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


def table_schema(key: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Write the JSON Schema of a table with these key and value fields."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **object_schema(
            meta=object_schema(
                ts={"type": "string", "format": "date-time"},
                action={"type": "string", "enum": ["U", "D"]},
            ),
            key=object_schema(**key) | {"required": list(key)},
            value=object_schema(**value),
        ),
        "required": ["key"],
    }


PLAIN_SCHEMA = table_schema(
    {"id": {"type": "integer", "format": "int64"}}, {"text": {"type": "string"}}
)


def read_spec(file: Path) -> ServiceSpec:
    """Read what the service is to be like from the file that `running_service` wrote."""
    told = json.loads(file.read_text())
    return ServiceSpec(
        **{
            **told,
            "folder": Path(told["folder"]),
            "tables": tuple(ReadyTable(**each) for each in told["tables"]),
            "network": Network(**told["network"]),
        }
    )
