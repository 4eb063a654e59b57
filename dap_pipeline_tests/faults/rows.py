"""The table of the suite: a fault, where it strikes, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dap_pipeline.sandbox.faults import Fault, JobFault
from dap_pipeline.sandbox.limits import Endpoint

from .outcomes import Outcome
from .service import School

Switches = Sequence[Fault | JobFault]

COMMAND_LINE = "command line"
LAKE = "lake"


@dataclass(frozen=True)
class Row:
    """One fault, and what the pipeline does.

    `faults` are made anew for each run. `settings` are variables of the environment. `rest` are
    seconds for which an endpoint must be left alone after each strike. `also` looks further.
    """

    fault: str
    does: str
    faults: Callable[[School], Switches]
    outcome: Outcome
    settings: Mapping[str, str] = field(default_factory=dict)
    surfaces: tuple[str, ...] = (COMMAND_LINE, LAKE)
    rest: float = 0.0
    also: Callable[[School], None] | None = None

    @property
    def name(self) -> str:
        """Name the row within the names of tests."""
        words = "".join(c if c.isalnum() else " " for c in self.fault.lower()).split()
        return "-".join(words)


@dataclass(frozen=True)
class Chapter:
    """Rows that belong together in the document."""

    title: str
    rows: tuple[Row, ...]


def always(*faults: Fault | JobFault) -> Callable[[School], Switches]:
    """Strike with faults that need not know the service."""
    return lambda _: faults


EVERYWHERE = tuple(Endpoint)
API = tuple(endpoint for endpoint in Endpoint if endpoint is not Endpoint.OBJECT)
