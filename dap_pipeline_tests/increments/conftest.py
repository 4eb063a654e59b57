"""Fixture of the judges: PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .postgres import Postgres, programs, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test run's own."""
    found = programs()
    if found is None:
        absent = "PostgreSQL is not installed: on Debian, apt install postgresql"
        # A machine that is there for tests must run them all.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(absent)
    with running_postgres(found) as server:
        yield server
