"""What single tests prove, for the document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

CRASHES = "Crashes, two runs, full disks and clocks"
MEMORY = "Bombs"
ORDERS = "Anything at all from outside"
SECRETS = "Secrets"

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True)
class Proof:
    """A fault, what the pipeline does, and the tests that show it."""

    chapter: str
    fault: str
    does: str
    tests: tuple[str, ...]


PROOFS: list[Proof] = []


def proves(chapter: str, fault: str, does: str) -> Callable[[Test], Test]:
    """Say what a test proves; a test may prove several things."""

    def note(test: Test) -> Test:
        PROOFS.append(Proof(chapter, fault, does, (name_of(test),)))
        return test

    return note


def name_of(test: Callable[..., Any]) -> str:
    """Name a test as pytest does."""
    path = test.__module__.replace(".", "/")
    return f"{path}.py::{test.__name__}"
