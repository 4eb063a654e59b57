"""A process that starts loads and kills them.

It has imported everything that a load needs, so that a load is started by a fork, within
milliseconds. Each line of its input is an order; each line of its output tells what came of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.progress import Progress, Stage
from dap_pipeline.errors import DapPipelineError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.settings import load_settings

_PROJECT = Path(__file__).parent.parent.parent
USERS = TableName("canvas", "users")


@dataclass(frozen=True)
class Order:
    """A load of `users` that is killed, or that may end if there is no time to kill it.

    `kill_after` are seconds from the start, or from the first word about rewriting.
    `largest_file` are bytes that no file may exceed.
    """

    kill_after: float | None = None
    from_rewriting: bool = False
    largest_file: int | None = None


@dataclass(frozen=True)
class Result:
    """What came of a load: `killed`, or the name of an error, or `done`; and its seconds."""

    word: str
    seconds: float
    text: str = ""


class Killer:
    """Gives orders to the process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def load(self, order: Order | None = None) -> Result:
        """Have a load started, and wait until it is killed or has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(asdict(order or Order())) + "\n")
        stdin.flush()
        return Result(**json.loads(stdout.readline()))


@contextlib.contextmanager
def killer(environment: Mapping[str, str], folder: Path) -> Iterator[Killer]:
    """Run the process; its loads find these variables."""
    with subprocess.Popen(
        [sys.executable, "-m", Killer.__module__],
        env={**os.environ, **environment, "PYTHONPATH": str(_PROJECT)},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Killer(process)
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait(timeout=30)


def main() -> None:
    """Follow the orders."""
    for line in sys.stdin:
        print(json.dumps(asdict(_carry_out(Order(**json.loads(line))))), flush=True)


def _carry_out(order: Order) -> Result:
    heard, said = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(heard)
        _load(order, said)
    os.close(said)
    with os.fdopen(heard, "rb", buffering=0) as words:
        if order.kill_after is not None:
            first = words.read(1) if order.from_rewriting else b"r"
            time.sleep(order.kill_after)
            os.kill(child, signal.SIGKILL)
        else:
            first = words.read(1)
        rest = words.read() if order.kill_after is None else b""
    status = os.waitpid(child, 0)[1]
    seconds = time.monotonic() - started
    if os.WIFSIGNALED(status):
        return Result("killed", seconds)
    word, _, text = (first + rest).decode().lstrip("r").partition("\n")
    return Result(word or "done", seconds, text)


def _load(order: Order, said: int) -> None:
    """Load the table in a process that does nothing else, and end it."""
    try:
        if order.largest_file is not None:
            limits = (order.largest_file, order.largest_file)
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        with Engine.open(load_settings()) as engine:
            engine.load(USERS, listener=lambda progress: _tell(progress, said))
    except DapPipelineError as error:
        os.write(said, f"{type(error).__name__}\n{error}".encode())
    except BaseException as error:
        os.write(said, f"unexpected\n{error!r}".encode())
    finally:
        os._exit(0)


def _tell(progress: Progress, said: int) -> None:
    if progress.stage is Stage.REWRITING:
        os.write(said, b"r")


if __name__ == "__main__":
    main()
