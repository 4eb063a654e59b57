"""Effects on the connection itself: broken, cut, stalled, slow and silent answers.

ASGI has no words for them, so they write to the connection that uvicorn holds.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .faults import Effect
from .faults_answers import Rendered, rendered
from .interceptors import Call, Proceed


class Ending(Enum):
    """How a connection ends."""

    CLOSED = auto()
    RESET = auto()


class Framing(Enum):
    """How an answer tells where its body ends."""

    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


class Wire:
    """The connection that a request has come on."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        # uvicorn keeps the connection in the object whose method this is, for both its parsers.
        self._transport: asyncio.Transport = receive.__self__.transport  # type: ignore[attr-defined]

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._transport.write(data)

    async def end(self, ending: Ending) -> None:
        """Close the connection after what was written, or reset it."""
        if ending is Ending.RESET:
            connection = self._transport.get_extra_info("socket")
            no_wait = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_wait)
            self._transport.abort()
        else:
            self._transport.close()
        await self.gone()

    async def gone(self) -> None:
        """Wait until the connection has ended."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def dropped(ending: Ending) -> Effect:
    """End the connection instead of answering; the service never hears of the request."""

    async def effect(_call: Call, _proceed: Proceed) -> Response:
        return _OnWire(lambda wire, _: wire.end(ending))

    return effect


def lost(ending: Ending = Ending.RESET) -> Effect:
    """Do what was asked, then end the connection instead of answering."""

    async def effect(_call: Call, proceed: Proceed) -> Response:
        await proceed()
        return _OnWire(lambda wire, _: wire.end(ending))

    return effect


def silent() -> Effect:
    """Never answer, and keep the connection."""

    async def effect(_call: Call, _proceed: Proceed) -> Response:
        return _OnWire(lambda wire, _: wire.gone())

    return effect


def cut(
    share: float = 0.5,
    framing: Framing = Framing.LENGTH,
    ending: Ending = Ending.CLOSED,
    *,
    etag: bool = True,
) -> Effect:
    """Announce the whole body, send this share of it, and end the connection."""

    async def send(wire: Wire, whole: Rendered) -> None:
        wire.write(_head(whole, framing, etag) + _framed(_start(whole, share), framing))
        if ending is Ending.RESET:
            # A reset takes back what is still on its way: the start of the body would be lost too.
            await asyncio.sleep(0.05)
        await wire.end(ending)

    return _with_answer(send)


def stalled(share: float = 0.5) -> Effect:
    """Send this share of the body and then no more; the connection stays."""

    async def send(wire: Wire, whole: Rendered) -> None:
        wire.write(_head(whole, Framing.LENGTH) + _start(whole, share))
        await wire.gone()

    return _with_answer(send)


def slow(pieces: int, gap: float) -> Effect:
    """Send the body in so many pieces with `gap` seconds between them."""

    async def send(wire: Wire, whole: Rendered) -> None:
        wire.write(_head(whole, Framing.LENGTH))
        size = -(-len(whole.body) // pieces) or 1
        for start in range(0, len(whole.body), size):
            wire.write(whole.body[start : start + size])
            await asyncio.sleep(gap)
        await wire.end(Ending.CLOSED)

    return _with_answer(send)


SendOnWire = Callable[[Wire, Rendered], Awaitable[None]]


def _with_answer(send: SendOnWire) -> Effect:
    async def effect(_call: Call, proceed: Proceed) -> Response:
        return _OnWire(send, await proceed())

    return effect


class _OnWire(Response):
    """An answer that is written to the connection past the web server."""

    def __init__(self, write: SendOnWire, inner: Response | None = None) -> None:
        super().__init__()
        self._write = write
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Write the answer, and stay until the connection has ended."""
        whole = Rendered()
        if self._inner is not None:
            whole = await rendered(self._inner, scope, receive)
        await self._write(Wire(receive), whole)


def _start(whole: Rendered, share: float) -> bytes:
    return whole.body[: int(len(whole.body) * share)]


def _head(whole: Rendered, framing: Framing, etag: bool = True) -> bytes:
    dropped_names = {b"content-length"} if etag else {b"content-length", b"etag"}
    lines = [f"HTTP/1.1 {whole.status} {HTTPStatus(whole.status).phrase}".encode()]
    lines += [n + b": " + v for n, v in whole.headers if n not in dropped_names]
    if framing is Framing.LENGTH:
        lines.append(f"content-length: {len(whole.body)}".encode())
    if framing is Framing.CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    return b"\r\n".join([*lines, b"connection: close", b"", b""])


def _framed(body: bytes, framing: Framing) -> bytes:
    """Write a body without its end: no last chunk tells that it is whole."""
    return b"%x\r\n%b\r\n" % (len(body), body) if framing is Framing.CHUNKED else body
