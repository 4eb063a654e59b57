"""A web server that gives the answers which a test has written down, path by path, in their order.

It says exactly what it is told, so that it can cut bodies, stall, fall silent and lie.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

LOGIN = "/ids/auth/login"


class Then(Enum):
    """What the server does when it has sent what there is to send."""

    KEEP = auto()
    CLOSE = auto()
    STALL = auto()


@dataclass(frozen=True)
class Answer:
    """One answer; `length` replaces the true length of the body, and None is not to send any.

    `gate` is waited for before the first byte. `sent` is set when the last one has been sent.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = -1
    then: Then = Then.KEEP
    mute: bool = False
    gate: threading.Event | None = None
    sent: threading.Event | None = None


LOST = Answer(mute=True, then=Then.CLOSE)


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; names of headers are in small letters."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = Answer | Callable[[Seen], Answer]


def says(payload: object, status: int = 200, **headers: str) -> Answer:
    """Answer with JSON; an underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(payload).encode()
    return Answer(status, body, {"Content-Type": "application/json", **named})


def fails(status: int, type: str = "", message: str = "", **more: Any) -> Answer:
    """Answer with an error object as the API does."""
    error = {"type": type, "uuid": "0-1-2", "message": message, **more}
    return says({"error": error}, status)


def stored(body: bytes, etag: str = '"one"', **changes: Any) -> Callable[[Seen], Answer]:
    """Serve an object as an object store does: whole, or from where the client has stopped."""

    def answer(seen: Seen) -> Answer:
        whole = {"ETag": etag, "Accept-Ranges": "bytes"}
        asked = seen.headers.get("range", "")
        if not asked or seen.headers.get("if-range", etag) != etag:
            return replace(Answer(200, body, whole), **changes)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            return Answer(416, b"<Error/>", {"Content-Range": f"bytes */{len(body)}"})
        part = {**whole, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return replace(Answer(206, body[start:], part), **changes)

    return answer


def cut(body: bytes, after: int, then: Then = Then.CLOSE, etag: str | None = '"one"') -> Answer:
    """Announce the whole body, send the beginning, then break off or stall."""
    headers = {"ETag": etag} if etag else {}
    return Answer(200, body[:after], headers, length=len(body), then=then)


class ScriptedServer:
    """Answers at `url`; `seen` are the requests in the order of their arrival."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.faults: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._once: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._always: dict[str, Reply] = {}
        self.connections_made: list[object] = []
        self._connections: set[socket.socket] = set()
        self._over = threading.Event()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.script = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._http.shutdown()
        self._thread.join()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()
        assert not self.faults, self.faults

    def on(self, path: str, *replies: Reply) -> None:
        """Answer requests for the path with these, once each."""
        self._once[path].extend(replies)

    def always(self, path: str, reply: Reply) -> None:
        """Answer requests for the path with this when nothing else is left."""
        self._always[path] = reply

    def logs_in(self, token: str = "token-1", **more: Any) -> None:
        """Accept every login."""
        self.always(LOGIN, says({"access_token": token, "expires_in": 3600, **more}))

    def at(self, path: str) -> list[Seen]:
        """Give the requests for a path."""
        with self._lock:
            return [seen for seen in self.seen if seen.path == path]

    @contextlib.contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._connections.add(connection)
            self.connections_made.append(connection.getpeername())
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    def is_connected(self) -> bool:
        """Tell whether any connection is open."""
        with self._lock:
            return bool(self._connections)

    def reply(self, seen: Seen) -> Answer:
        with self._lock:
            self.seen.append(seen)
            waiting = self._once[seen.path]
            reply = waiting.popleft() if waiting else self._always.get(seen.path)
            if reply is None:
                self.faults.append(f"no answer is left for {seen.method} {seen.path}")
                # Neither of the two is tried again by a client of the API or of the store.
                return Answer(400 if seen.path.startswith(("/dap/", "/ids/")) else 451)
        return reply if isinstance(reply, Answer) else reply(seen)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def hold(self, gate: threading.Event) -> None:
        while not gate.wait(0.02) and not self._over.is_set():
            pass

    def stall(self) -> None:
        self._over.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
    script: ScriptedServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep silent: a client that goes away is what many a test is about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle(self) -> None:
        with self.server.script.connected(self.connection):
            super().handle()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def _answer(self) -> None:
        script = self.server.script
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with script.serving():
            answer = script.reply(Seen(self.command, parts.path, parts.query, headers, body))
            if answer.gate is not None:
                script.hold(answer.gate)
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        if not answer.mute:
            length = len(answer.body) if answer.length == -1 else answer.length
            reason = HTTPStatus(answer.status).phrase if answer.status < 500 else "Error"
            lines = [f"HTTP/1.1 {answer.status} {reason}"]
            lines += [f"{name}: {value}" for name, value in answer.headers.items()]
            lines += [] if length is None else [f"Content-Length: {length}"]
            head = "\r\n".join([*lines, "", ""]).encode("latin-1")
            self.wfile.write(head + answer.body)
        if answer.sent is not None:
            answer.sent.set()
        if answer.then is Then.STALL:
            self.server.script.stall()
        self.close_connection = answer.then is not Then.KEEP or answer.length is None
