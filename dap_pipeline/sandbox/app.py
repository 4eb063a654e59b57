"""The web application: the routes of the Query API, of its objects and of the sandbox itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import errors
from .clock import Clock, instant_text
from .dating import Dating
from .errors import ApiError
from .interceptors import Call, Interceptor, Proceed
from .jobs import Jobs
from .life import Life
from .limits import Endpoint, RateLimiter, RequestCounts
from .objects import LinkError, Links, object_response
from .queries import parse_advance, parse_change, parse_object_ids, parse_query
from .store import Store, StoredTable
from .tokens import Tokens

logger = logging.getLogger(__name__)
AdvanceSchool = Callable[[Store, datetime], None]


@dataclass
class Service:
    """The parts of a running sandbox."""

    store: Store
    clock: Clock
    tokens: Tokens
    limiter: RateLimiter
    jobs: Jobs
    links: Links
    advance_school: AdvanceSchool
    life: Life
    interceptors: Sequence[Interceptor] = ()
    counts: RequestCounts = field(default_factory=RequestCounts)
    _advancing: threading.Lock = field(default_factory=threading.Lock)

    def advance(self, hours: float = 4, steps: int = 1) -> datetime:
        """Move the clock on by `hours`, `steps` times, each time with the school; tells the time.

        Jobs, tokens and links age with the clock.
        """
        with self._advancing:
            for _ in range(steps):
                self.advance_school(self.store, self.clock.advance(timedelta(hours=hours)))
            self.jobs.forget_expired()
            return self.clock.now()


@dataclass(frozen=True)
class Received:
    """A request whose body has been read."""

    request: Request
    body: bytes

    def path(self, name: str) -> str:
        """Give a part of the path."""
        return str(self.request.path_params[name])


Handler = Callable[[Service, Received], Response]


def create_app(service: Service) -> Starlette:
    """Build the application of a service."""

    def route(method: str, path: str, endpoint: Endpoint, handler: Handler) -> Route:
        async def answer(request: Request) -> Response:
            return await _answer(service, endpoint, handler, request)

        return Route(path, answer, methods=[method])

    def own_route(method: str, path: str, handler: Handler) -> Route:
        async def answer(request: Request) -> Response:
            return await _handle(service, handler, request)

        return Route(path, answer, methods=[method])

    table = "/dap/query/{namespace}/table"
    routes = [
        route("POST", "/ids/auth/login", Endpoint.LOGIN, _login),
        route("GET", table, Endpoint.TABLES, _tables),
        route("GET", table + "/{table}/schema", Endpoint.SCHEMA, _schema),
        route("POST", table + "/{table}/data", Endpoint.DATA, _data),
        route("GET", "/dap/job/{job_id}", Endpoint.JOB, _job),
        route("POST", "/dap/object/url", Endpoint.OBJECT_URL, _object_url),
        route("GET", "/objects/{job_id}/{file_name}", Endpoint.OBJECT, _object),
        own_route("POST", "/sandbox/advance", _advance),
        own_route("POST", "/sandbox/change", _change),
        own_route("GET", "/sandbox/requests", _requests),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Dating, clock=service.clock)],
        exception_handlers={HTTPException: _no_route},
    )


async def _answer(
    service: Service, endpoint: Endpoint, handler: Handler, request: Request
) -> Response:
    service.counts.requests[endpoint] += 1
    call = Call(endpoint, **request.path_params, body=await request.body())
    proceed: Proceed = partial(_handle, service, partial(_guarded, endpoint, handler), request)
    for interceptor in reversed(service.interceptors):
        proceed = partial(interceptor.answer, call, proceed)
    return await proceed()


async def _handle(service: Service, handler: Handler, request: Request) -> Response:
    received = Received(request, await request.body())
    try:
        return await run_in_threadpool(handler, service, received)
    except (ApiError, LinkError) as error:
        return error.response()
    except Exception:
        logger.exception("The request could not be answered.")
        return errors.internal().response()


def _guarded(
    endpoint: Endpoint, handler: Handler, service: Service, received: Received
) -> Response:
    """Ask for a token where DAP does, then count the request against its limit."""
    if endpoint not in {Endpoint.LOGIN, Endpoint.OBJECT}:
        service.tokens.check(received.request.headers)
    wait = service.limiter.admit(endpoint)
    if wait is not None:
        service.counts.rate_limited[endpoint] += 1
        raise errors.too_many_requests(wait)
    return handler(service, received)


def _login(service: Service, received: Received) -> Response:
    return JSONResponse(service.tokens.login(received.request.headers, received.body))


def _tables(service: Service, received: Received) -> Response:
    namespace = received.path("namespace")
    names = service.store.tables(namespace)
    if not names:
        raise errors.not_found("namespace", namespace)
    return JSONResponse({"tables": names})


def _schema(service: Service, received: Received) -> Response:
    table = _table(service, received)
    return JSONResponse({"schema": table.schema, "version": table.version})


def _data(service: Service, received: Received) -> Response:
    table = _table(service, received)
    scope = received.request.query_params.get("scope", "")
    status, body = service.jobs.request(table, parse_query(received.body), scope)
    return JSONResponse(body, status)


def _job(service: Service, received: Received) -> Response:
    status, body = service.jobs.look(received.path("job_id"))
    return JSONResponse(body, status)


def _object_url(service: Service, received: Received) -> Response:
    urls: dict[str, Any] = {}
    for object_id in parse_object_ids(received.body):
        if service.jobs.file(object_id) is None:
            raise errors.not_found("object", object_id)
        link = service.links.sign(str(received.request.base_url), object_id)
        urls[object_id] = {"url": link}
    return JSONResponse({"urls": urls})


def _object(service: Service, received: Received) -> Response:
    object_id = f"{received.path('job_id')}/{received.path('file_name')}"
    request = received.request
    service.links.check(object_id, request.query_params, request.headers)
    return object_response(service.jobs.file(object_id))


def _advance(service: Service, received: Received) -> Response:
    _check_owner(service, received)
    hours, steps = parse_advance(received.body)
    return JSONResponse({"now": instant_text(service.advance(hours, steps))})


def _change(service: Service, received: Received) -> Response:
    _check_owner(service, received)
    table, what, rows = parse_change(received.body)
    try:
        change = service.life.make(table, what, rows)
    except LookupError:
        raise errors.not_found("table", table) from None
    except ValueError as error:
        raise errors.impossible_change(str(error)) from None
    fields = {"keys": len(change.keys), "field": change.field}
    return JSONResponse({"at": instant_text(change.at), **fields})


def _check_owner(service: Service, received: Received) -> None:
    headers = received.request.headers
    if not service.tokens.basic_is_valid(headers.get("authorization", "")):
        service.tokens.check(headers)


def _requests(service: Service, received: Received) -> Response:  # noqa: ARG001
    return JSONResponse(service.counts.body())


def _table(service: Service, received: Received) -> StoredTable:
    namespace, name = received.path("namespace"), received.path("table")
    table = service.store.table(namespace, name)
    if table is None:
        known = service.store.tables(namespace)
        raise errors.not_found("table", name) if known else errors.not_found("namespace", namespace)
    return table


async def _no_route(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer a path that DAP does not have as its gateway does: a message, no `error`."""
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"message": error.detail}, error.status_code, error.headers)
