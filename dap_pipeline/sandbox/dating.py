"""Dates the answers by the clock of the service."""

from __future__ import annotations

from email.utils import format_datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .clock import Clock


class Dating:
    """Adds the `Date` header to every answer that has none."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, with a date."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                if all(name.lower() != b"date" for name, _ in headers):
                    now = format_datetime(self._clock.now(), usegmt=True)
                    headers.append((b"date", now.encode()))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, dated)
