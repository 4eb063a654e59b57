"""Serves files over HTTP at the speed of the kernel, or as slowly as a network would.

The embedded service sends a body through Python; this one lets the kernel copy it, so that
whoever reads is what is measured. It knows single ranges and keeps connections open, as S3 does.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SLICE = 1 << 20
_RANGE = re.compile(rb"(?im)^range: *bytes=(\d+)-(\d*)\r?$")


@dataclass(frozen=True)
class Network:
    """What the network is like."""

    bytes_per_second: float = 0.0
    """Of each connection; 0 as fast as can be."""
    delay: float = 0.0
    """Seconds before each answer."""


@contextlib.contextmanager
def serving_files(folder: Path, network: Network) -> Iterator[str]:
    """Serve the files below a folder while the block runs; gives the address."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(
                    target=_serve, args=(connection, folder, network), daemon=True
                ).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def _serve(connection: socket.socket, folder: Path, network: Network) -> None:
    """Answer the requests of one connection, one after another."""
    with connection, contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while head := _head(connection):
            time.sleep(network.delay)
            path = unquote(urlsplit(head.split(b" ", 2)[1].decode()).path).lstrip("/")
            _send(connection, folder / path, _RANGE.search(head), network)


def _head(connection: socket.socket) -> bytes:
    """Read the head of a request; nothing when the other side has hung up."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = connection.recv(65_536)
        if not more:
            return b""
        head += more
    return head


def _send(
    connection: socket.socket, path: Path, wanted: re.Match[bytes] | None, network: Network
) -> None:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return
    try:
        size = os.fstat(file).st_size
        start = int(wanted[1]) if wanted else 0
        end = min(int(wanted[2] or size - 1) + 1, size) if wanted else size
        status = "206 Partial Content" if wanted else "200 OK"
        lines = [
            f"HTTP/1.1 {status}",
            f"Content-Length: {end - start}",
            "Content-Type: application/octet-stream",
            'ETag: "bench"',
        ]
        if wanted:
            lines.append(f"Content-Range: bytes {start}-{end - 1}/{size}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        _send_body(connection, file, start, end, network.bytes_per_second)
    finally:
        os.close(file)


def _send_body(connection: socket.socket, file: int, start: int, end: int, rate: float) -> None:
    began, at = time.monotonic(), start
    # A fiftieth of a second each: a slow connection delivers steadily and not in gushes.
    most = max(int(rate / 50), 4096) if rate else _SLICE
    while at < end:
        at += os.sendfile(connection.fileno(), file, at, min(most, end - at))
        if rate and (ahead := began + (at - start) / rate - time.monotonic()) > 0:
            time.sleep(ahead)
