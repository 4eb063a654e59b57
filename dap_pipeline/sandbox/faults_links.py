"""A second web server, and effects that lead downloads to it.

Links of the service can be given any path: the second server knows each object by a number in the
query. It writes down the headers of what it is asked, so that a test sees what a client sends to a
stranger.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from .faults import Effect
from .faults_answers import changed_json
from .interceptors import Call, Proceed
from .server import answering, listen


@dataclass
class OtherHost:
    """Serves under any path what was left with it; `seen` are the headers of its requests."""

    url: str
    seen: list[Mapping[str, str]] = field(default_factory=list)
    _left: list[Response | str] = field(default_factory=list)

    def keep(self, thing: Response | str) -> str:
        """Keep an answer, or an address to redirect to; tells the query that asks for it."""
        self._left.append(thing)
        return f"kept={len(self._left) - 1}"

    async def answer(self, request: Request) -> Response:
        """Give what was left."""
        self.seen.append(dict(request.headers))
        thing = self._left[int(request.query_params["kept"])]
        return thing if isinstance(thing, Response) else RedirectResponse(thing, 302)


@contextlib.contextmanager
def other_host() -> Iterator[OtherHost]:
    """Run a second server under another name of this machine than the service's."""
    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        host = OtherHost(f"http://localhost:{listener.getsockname()[1]}")
        app = Starlette(routes=[Route("/{path:path}", host.answer)])
        with answering(app, listener):
            yield host


def redirected_to(host: OtherHost) -> Effect:
    """Redirect a download to the other host, which serves the object."""

    async def effect(_call: Call, proceed: Proceed) -> Response:
        query = host.keep(await proceed())
        return RedirectResponse(f"{host.url}/moved/object?{query}", 307)

    return effect


def links_named(host: OtherHost, path_of: Callable[[int], str]) -> Effect:
    """Give links with other paths: `path_of` is given the number of the object in the answer."""

    def change(answer: Any) -> Any:
        for number, link in enumerate(answer["urls"].values()):
            link["url"] = f"{host.url}{path_of(number)}?{host.keep(link['url'])}"
        return answer

    return changed_json(change)


def links_lacking_one() -> Effect:
    """Leave the last object out of an answer."""

    def change(answer: Any) -> Any:
        names = list(answer["urls"])
        return {"urls": {name: answer["urls"][name] for name in names[:-1]}}

    return changed_json(change)
