"""Puts the parts of a sandbox together from its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import duckdb

from .app import AdvanceSchool, Service
from .clock import Clock
from .config import SandboxConfig, SandboxError
from .interceptors import Interceptor
from .job_book import JobBook
from .jobs import Jobs
from .life import Life
from .limits import RateLimiter
from .objects import Links
from .store import FILE_NAME, Store
from .tokens import Tokens, load_credentials

BuildSchool = Callable[[Store, datetime], None]


@contextlib.contextmanager
def open_service(
    config: SandboxConfig,
    build: BuildSchool | None,
    advance: AdvanceSchool | None,
    interceptors: Sequence[Interceptor],
) -> Iterator[Service]:
    """Open the parts kept in a folder, with a new school if it has none, and close them after."""
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    clock = Clock(config.folder / "clock.json")
    credentials = load_credentials(config.folder)
    with contextlib.closing(_open_school(config, clock, build or _builder(config))) as store:
        book = JobBook(config.folder / "jobs.sqlite")
        settings, objects = config.job_settings(), config.folder / "objects"
        with contextlib.closing(Jobs(store, clock, book, objects, settings, interceptors)) as jobs:
            jobs.resume()
            yield Service(
                store,
                clock,
                Tokens(credentials, clock),
                RateLimiter(clock, config.limits if config.rate_limits else {}),
                jobs,
                Links(credentials.signing_key, clock),
                advance or _advance_made_up_school,
                Life(store, clock, config.seed),
                interceptors,
            )


def _open_school(config: SandboxConfig, clock: Clock, build: BuildSchool) -> Store:
    try:
        store = Store(config.folder)
        if store.school_committed_at() is None:
            store = _built_anew(store, config, clock, build)
    except duckdb.IOException as error:
        message = f"The folder {config.folder} is in use by another sandbox, or cannot be written."
        raise SandboxError(message) from error
    return store


def _built_anew(store: Store, config: SandboxConfig, clock: Clock, build: BuildSchool) -> Store:
    """Build the school in a fresh file: the old one may hold what an interrupted build left."""
    store.close()
    (config.folder / FILE_NAME).unlink()
    store = Store(config.folder)
    as_of = config.as_of or _rounded_down(clock.now())
    try:
        build(store, as_of)
        if store.school_committed_at() is None:
            store.commit_school(as_of)
    except BaseException:
        store.close()
        raise
    return store


def _builder(config: SandboxConfig) -> BuildSchool:
    def build(store: Store, as_of: datetime) -> None:
        from .school import build_school

        build_school(store, seed=config.seed, rows=config.rows, as_of=as_of)

    return build


def _advance_made_up_school(store: Store, now: datetime) -> None:
    from .school import advance_school

    advance_school(store, now=now)


def _rounded_down(instant: datetime) -> datetime:
    return instant.replace(hour=instant.hour - instant.hour % 4, minute=0, second=0, microsecond=0)
