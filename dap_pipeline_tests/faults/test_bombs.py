"""Small downloads that unpack to much."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dap_pipeline.sandbox.faults import ALWAYS, Fault
from dap_pipeline.sandbox.faults_answers import changed
from dap_pipeline.sandbox.limits import Endpoint

from .proving import MEMORY, proves
from .service import School

pytestmark = pytest.mark.slow

MEBIBYTE = 1 << 20
_UNPACKED = 640 * MEBIBYTE
_START = b'{"key":{"id":1},"meta":{"ts":"2026-01-01T00:00:00Z"},"value":{"name":'


def packed(pieces: Iterator[bytes]) -> bytes:
    """Pack pieces without ever holding them all."""
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(map(packer.compress, pieces)) + packer.flush()


def zeros() -> Iterator[bytes]:
    yield from [bytes(MEBIBYTE)] * (_UNPACKED // MEBIBYTE)


def brackets() -> Iterator[bytes]:
    yield _START
    yield from [b"[" * MEBIBYTE] * (_UNPACKED // MEBIBYTE)


def long_text() -> Iterator[bytes]:
    yield _START + b'"'
    yield from [b"a" * MEBIBYTE] * (_UNPACKED // MEBIBYTE)
    yield b'"}}\n'


@dataclass(frozen=True)
class Finished:
    """A process that has ended, with the most memory that it ever held, in bytes."""

    code: int
    rows: list[dict[str, Any]]
    memory: int


# A process counts the memory of the one that started it, from before its program was loaded: so it
# is started by a small one, which tells what its child has held.
_WATCHED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def run(school: School, work: Path, verb: str) -> Finished:
    """Fetch the table in a process of its own."""
    words = [verb, "--namespace", "canvas", "--table", "users", "--json"]
    small = {"DAP_PIPELINE_SOURCE_FORMAT": "jsonl", "DAP_PIPELINE_DUCKDB_MEMORY": "100MB"}
    command = [sys.executable, "-m", "dap_pipeline.cli", *words]
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, *command],
        cwd=work,
        env={**os.environ, **school.environment(work / "data", **small)},
        capture_output=True,
        text=True,
        check=True,
    )
    code, memory = map(int, done.stderr.splitlines()[-1].split())
    scale = 1 if sys.platform == "darwin" else 1024
    return Finished(code, json.loads(done.stdout), memory * scale)


@proves(
    MEMORY,
    "a gzip bomb, a JSON bomb, or a value of hundreds of megabytes",
    "Unpacks in pieces: memory stays bounded, and the table fails and names the part.",
)
@pytest.mark.parametrize("bomb", [zeros, brackets, long_text])
def test_a_bomb_does_not_fill_the_memory(
    bomb: Callable[[], Iterator[bytes]], school: School, tmp_path: Path
) -> None:
    body = packed(bomb())
    assert len(body) < _UNPACKED / 100
    school.begin(
        Fault(changed(lambda _: body, without=("etag",)), (Endpoint.OBJECT,), "users", ALWAYS)
    )
    finished = run(school, tmp_path, "load")
    (row,) = finished.rows
    assert (finished.code, row["outcome"], row["error"]) == (1, "failed", "MisfitError")
    assert "part-0000" in row["message"]
    assert finished.memory < _UNPACKED / 2
