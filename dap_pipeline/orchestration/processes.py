"""Child processes that end with this one, and signals that end it in an orderly way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_SECONDS = 6.0
_LAST_PATIENCE_SECONDS = 4.0


class Stopped(BaseException):
    """A signal asked this process to end."""


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Raise Stopped once at Ctrl-C, SIGTERM or a closed terminal; later signals are ignored.

    While handlers are set, children begin with the signal's default, even where this process was
    started with SIGINT ignored, as in the background of a script.
    """
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # signal's signature
        nonlocal stopped
        if not stopped:
            stopped = True
            raise Stopped

    before = {number: signal.signal(number, stop) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def child(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    stdout: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a command, and end it and everything that it started when the block is left.

    It has a process group of its own, so Ctrl-C reaches it only from here: once, and in order.
    """
    process = subprocess.Popen(  # noqa: S603  # our own interpreter with our own arguments
        command,
        env={**os.environ, **environment},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE_SECONDS)
    # What is left of its group: a run in flight, or what did not listen.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LAST_PATIENCE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()
