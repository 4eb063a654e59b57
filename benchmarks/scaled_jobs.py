"""Runs the jobs of many tables in time that passes faster, by the pipeline's own pacing.

``python -m benchmarks.scaled_jobs <scale> <tables> <parallel> <folder>`` with the three settings
of DAP in the environment. Limits and waits are those of the pipeline, divided by the scale.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.bound import MINUTE
from benchmarks.service import NAMESPACE, numbered
from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.http import Http
from dap_pipeline.dap.jobs import JobPace, JobRunner
from dap_pipeline.dap.limits import MARGIN_SECONDS, Limiter, limits_of
from dap_pipeline.dap.login import Credentials
from dap_pipeline.dap.many import for_each
from dap_pipeline.dap.models import Format, SnapshotQuery, TableName
from dap_pipeline.dap.progress import silent
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.settings import load_settings


def main(scale: float, tables: int, parallel: int, folder: Path) -> None:
    """Run a snapshot job of every table."""
    settings = load_settings()
    limiter = Limiter(
        folder / "limits.sqlite",
        limits_of(settings),
        period=MINUTE / scale,
        margin=MARGIN_SECONDS / scale,
    )
    http = Http(settings.api_url, idle_timeout=settings.idle_timeout)
    client = DapClient(http, Credentials.from_settings(settings), limiter)
    pace = JobPace.from_settings(settings)
    shown = replace(
        pace, first_poll=pace.first_poll / scale, longest_poll=pace.longest_poll / scale
    )
    runner = JobRunner(client, shown)
    query = SnapshotQuery(Format.JSONL)
    result = for_each(
        [TableName(NAMESPACE, name) for name in numbered(tables)],
        lambda name, stop: runner.run(name, query, listener=silent, stop=stop),
        parallel=parallel,
        listener=silent,
        stop=Stop(),
    )
    if result.failures:
        raise next(iter(result.failures.values()))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
