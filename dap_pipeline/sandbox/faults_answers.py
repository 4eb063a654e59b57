"""Effects that answer wrongly: other statuses and bodies, and bodies changed on the way."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from .faults import Effect
from .interceptors import Call, Proceed

HTML = b"<html><head><title>Error</title></head><body><h1>The gateway is tired</h1></body></html>"

Change = Callable[[bytes], bytes]


def reply(
    status: int,
    body: bytes | object = b"",
    media_type: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Effect:
    """Answer without asking the service; a body that is not bytes is written as JSON."""
    is_raw = isinstance(body, bytes)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = media_type or (None if is_raw else "application/json")

    async def effect(_call: Call, _proceed: Proceed) -> Response:
        return Response(content, status, headers, kind)

    return effect


def made(answer: Callable[[], Response]) -> Effect:
    """Answer with what the function makes, without asking the service."""

    async def effect(_call: Call, _proceed: Proceed) -> Response:
        return answer()

    return effect


def changed(
    change: Change,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    without: tuple[str, ...] = (),
    ranges: bool = True,
) -> Effect:
    """Change the body of the service's answer; its length is told as it is then.

    Args:
        change: gives the new body.
        status: replaces the status.
        headers: are added, or replace those of the same name.
        without: names of headers that are left out, in small letters.
        ranges: whether a part of the body may be asked for; if not, the whole comes each time.
    """

    async def effect(_call: Call, proceed: Proceed) -> Response:
        inner = await proceed()
        return _Changed(inner, change, status, headers or {}, without, ranges)

    return effect


def changed_json(change: Callable[[Any], Any], *, status: int | None = None) -> Effect:
    """Change the JSON of the service's answer."""
    return changed(lambda body: json.dumps(change(json.loads(body))).encode(), status=status)


def packed_once_more() -> Effect:
    """Pack the body as a proxy does that honours no header of the request."""
    return changed(
        gzip.compress, headers={"content-encoding": "gzip"}, without=("etag", "accept-ranges")
    )


def twice() -> Effect:
    """Do a request twice and give the second answer, as after a repeat on the way."""

    async def effect(_call: Call, proceed: Proceed) -> Response:
        await proceed()
        return await proceed()

    return effect


class Rendered:
    """An answer of the service, taken in whole."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def take(self, message: Message) -> None:
        """Take what an application sends."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")


async def rendered(
    response: Response, scope: Scope, receive: Receive, *, ranges: bool = True
) -> Rendered:
    """Take an answer in whole, as it would go out for this request."""
    taken = Rendered()
    if not ranges:
        kept = [(name, value) for name, value in scope["headers"] if name != b"range"]
        scope = {**scope, "headers": kept}
    await response(scope, receive, taken.take)
    return taken


class _Changed(Response):
    """Another answer, changed when it goes out: only then is it known which bytes are asked for."""

    def __init__(
        self,
        inner: Response,
        change: Change,
        status: int | None,
        headers: Mapping[str, str],
        without: tuple[str, ...],
        ranges: bool,
    ) -> None:
        super().__init__()
        self._inner = inner
        self._change = change
        self._status = status
        self._added = {n.lower().encode(): v.encode() for n, v in headers.items()}
        self._dropped = {b"content-length", *self._added, *(name.encode() for name in without)}
        self._ranges = ranges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the changed answer."""
        whole = await rendered(self._inner, scope, receive, ranges=self._ranges)
        body = self._change(whole.body)
        headers = [
            *((name, value) for name, value in whole.headers if name not in self._dropped),
            *self._added.items(),
            (b"content-length", str(len(body)).encode()),
        ]
        status = self._status or whole.status
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
