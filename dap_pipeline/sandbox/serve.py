"""Starts a sandbox: within this process for tests and demos, or in the foreground."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType

from .app import AdvanceSchool, Service, create_app
from .assembly import BuildSchool, open_service
from .config import SandboxConfig
from .interceptors import Interceptor
from .life import Life, Truth, truth_of
from .server import answering, listen
from .store import FILE_NAME


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that answers at `url`."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    service: Service = field(repr=False)

    def advance(self, hours: float = 4, steps: int = 1) -> datetime:
        """Move the clock on and let the school live that long; tells the new service time."""
        return self.service.advance(hours, steps)

    @property
    def life(self) -> Life:
        """Changes to single tables."""
        return self.service.life

    def truth(self, table: str) -> Truth:
        """Tell the live rows of a table, named `namespace.table`; LookupError if there is none."""
        namespace, _, name = table.partition(".")
        return truth_of(self.service.store, namespace, name)


@contextlib.contextmanager
def running_sandbox(
    config: SandboxConfig,
    *,
    build: BuildSchool | None = None,
    advance: AdvanceSchool | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Iterator[RunningSandbox]:
    """Run a sandbox in a thread of this process; raises SandboxError if it cannot start.

    `build` and `advance` replace the made-up school, each called with the store and an instant.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(listen(config.host, config.port)))
        service = stack.enter_context(open_service(config, build, advance, interceptors))
        stack.enter_context(answering(create_app(service), listener))
        host = f"[{config.host}]" if ":" in config.host else config.host
        url = f"http://{host}:{listener.getsockname()[1]}"
        known = service.tokens.credentials
        yield RunningSandbox(url, known.client_id, known.client_secret, service)


def serve(config: SandboxConfig, interceptors: Sequence[Interceptor] = ()) -> None:
    """Run a sandbox until SIGINT or SIGTERM; raises SandboxError if it cannot start.

    Address and credentials are printed as three lines of `NAME=value`, once it answers.
    """
    if not (config.folder / FILE_NAME).exists():
        print("Building the school: this takes a moment.", file=sys.stderr)
    with (
        contextlib.suppress(_Stopped),
        _stopping_on_signals() as stopped,
        running_sandbox(config, interceptors=interceptors) as sandbox,
    ):
        print(f"DAP_API_URL={sandbox.url}")
        print(f"DAP_CLIENT_ID={sandbox.client_id}")
        print(f"DAP_CLIENT_SECRET={sandbox.client_secret}", flush=True)
        stopped.wait()


class _Stopped(BaseException):
    """A signal asked the foreground service to end."""


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[threading.Event]:
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if not stopped.is_set():
            stopped.set()
            raise _Stopped

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
