"""The web server of a sandbox: one socket and uvicorn in a thread."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from .config import SandboxError


def listen(host: str, port: int) -> socket.socket:
    """Take a port (0: a free one); raises SandboxError if it is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = f"Port {port} of {host} is in use: choose another one or end its user."
            raise SandboxError(message) from None
        raise SandboxError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error
    return listener


class _Server(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settled.set()


@contextlib.contextmanager
def answering(app: Starlette, listener: socket.socket) -> Iterator[None]:
    """Serve an application on a socket while the context lasts."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        log_config=None,  # the logging of this process is not ours to set up
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,  # the application tells its own time
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)

    def run() -> None:
        try:
            server.run(sockets=[listener])
        finally:
            server.settled.set()

    thread = threading.Thread(target=run, name="dap-sandbox", daemon=True)
    thread.start()
    server.settled.wait()
    if not server.started:
        raise SandboxError("The web server of the sandbox did not start; its log tells why.")
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
