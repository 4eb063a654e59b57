"""Fetches a table's files, decodes them and drops each, as a load does with parts it has rewritten.

``python -m benchmarks.fetch_and_drop <table> <folder>`` with the three settings of DAP in the
environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.service import NAMESPACE
from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.download import Downloader
from dap_pipeline.dap.jobs import JobPace, JobRunner
from dap_pipeline.dap.links import LinkBook
from dap_pipeline.dap.models import Format, SnapshotQuery, TableName
from dap_pipeline.dap.progress import silent
from dap_pipeline.dap.stages import Target
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.settings import load_settings


def main(table: str, folder: Path) -> None:
    """Fetch a snapshot and keep nothing of it."""
    settings, stop = load_settings(), Stop()
    client = DapClient.from_settings(settings)
    downloader = Downloader(
        client.http,
        connections=settings.connections,
        verify=settings.verify,
        patience=client.patience,
    )
    runner = JobRunner(client, JobPace.from_settings(settings))
    query = SnapshotQuery(Format.PARQUET)
    job = runner.run(TableName(NAMESPACE, table), query, listener=silent, stop=stop)
    ids = [each.id for each in job.objects]
    targets = [Target(n, each, folder / f"{n:05d}.parquet") for n, each in enumerate(ids)]
    links = LinkBook(client, ids, stop)
    for target in downloader.fetch(
        targets, links, Format.PARQUET, on_bytes=lambda _: None, stop=stop
    ):
        target.path.unlink()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
