"""A Dagster run of the three tables, in this process."""

from __future__ import annotations

from collections import Counter

import dagster as dg

from dap_pipeline.lake.engine import Engine
from dap_pipeline.orchestration.wiring import build_definitions
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.settings import load_settings
from dap_pipeline_tests.orchestration.school import failures_of, materialize, words_of

from .outcomes import Ended, Failure
from .service import TABLES, School
from .surfaces import CLEAN, check_published


class DagsterRun:
    """A run that materializes all three assets; its definitions come from a refreshed catalogue."""

    # The refresh has listed the tables and kept their schemas.
    clean = CLEAN - Counter({Endpoint.TABLES: 1, Endpoint.SCHEMA: 3})

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.written = ""
        self._instance = instance
        settings = load_settings()
        with Engine.open(settings) as engine:
            engine.refresh_catalogue(["canvas"])
        self._definitions = build_definitions(settings)

    def run(self) -> Ended:
        """Materialize the assets, and read the run's history."""
        keys = [dg.AssetKey(["canvas", table]) for table in TABLES]
        result = materialize(self._definitions, keys, self._instance)
        failed = failures_of(self._instance, result.run_id)
        tables = {step.removeprefix("canvas__"): entry for step, entry in failed.items()}
        failures = {table: _failure(entry) for table, entry in tables.items()}
        self.written += "".join(failure.text for failure in failures.values())
        tried = {t: f for t, f in failures.items() if "was not tried" not in f.text}
        ended_by = next(iter(tried.values())) if len(tried) < len(failures) else None
        return Ended(frozenset(TABLES) - failures.keys(), tried, ended_by)

    def check(self, school: School, ended: Ended) -> None:
        """Check that what is published is whole, and that nothing else is published."""
        check_published(ended)


def _failure(entry: dg.EventLogEntry) -> Failure:
    assert entry.dagster_event is not None
    data = entry.dagster_event.step_failure_data.user_failure_data
    assert data is not None
    metadata = {name: str(value.value) for name, value in data.metadata.items()}
    return Failure(
        metadata["error"],
        words_of(entry),
        metadata.get("table"),
        metadata.get("job_id"),
        metadata.get("uuid"),
    )
