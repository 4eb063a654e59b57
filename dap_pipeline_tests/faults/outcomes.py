"""What a fault must lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dap_pipeline.errors import DapPipelineError
from dap_pipeline.sandbox.limits import Endpoint

Range = tuple[int, int]


@dataclass(frozen=True)
class Recovers:
    """All tables arrive, each strike costs one more call, and nothing is fetched twice.

    `extra` are further calls of an endpoint, at least and at most. `free`: strikes cost no call.
    """

    extra: Mapping[Endpoint, Range] = field(default_factory=dict)
    free: bool = False


@dataclass(frozen=True)
class TableFails:
    """Only `users` fails, with this error; the others arrive.

    `says` are words of the text. `job`, `uuid`: whether there is one that the error has to tell.
    `calls` are the calls of an endpoint for all tables, at least and at most.
    """

    error: type[DapPipelineError]
    says: tuple[str, ...] = ()
    job: bool = True
    uuid: bool = False
    calls: Mapping[Endpoint, Range] = field(default_factory=dict)


@dataclass(frozen=True)
class RunEnds:
    """The whole run ends with this error; `calls` are all that may have been made."""

    error: type[DapPipelineError]
    says: tuple[str, ...] = ()
    calls: Mapping[Endpoint, Range] = field(default_factory=dict)


Outcome = Recovers | TableFails | RunEnds


@dataclass(frozen=True)
class Failure:
    """A failure as a surface tells it."""

    error: str
    text: str
    table: str | None
    job_id: str | None
    uuid: str | None


@dataclass(frozen=True)
class Ended:
    """How a run ended, whatever the surface."""

    done: frozenset[str]
    failures: Mapping[str, Failure]
    ended_by: Failure | None
    """What concerned every table, where something did."""
