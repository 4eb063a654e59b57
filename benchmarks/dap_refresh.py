"""Row: a refresh of all tables by Dagster when none has changed."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.contenders import timed
from benchmarks.harness import ROOT, Bench, Contender, Figure, Row, Taken, at_most, row, take_turns
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.serve import RunningSandbox, running_sandbox

_ROWS = 20_000


@row("unchanged-assets", order=125)
def unchanged_assets(bench: Bench) -> Row:
    """Materialize every table of a school once more."""
    folder = bench.scratch / "run"
    folder.mkdir()
    config = SandboxConfig(
        folder=bench.scratch / "school", rate_limits=False, job_polls=0, rows=_ROWS
    )
    with running_sandbox(config) as service:
        environment = _environment(service, bench.scratch)
        command = [sys.executable, "-m", "benchmarks.with_descendants"]
        dagster = str(Path(sys.executable).with_name("dagster"))
        refresh = [dagster, "asset", "materialize", "-m", "dap_pipeline.definitions", "--select"]

        def run() -> Taken:
            return timed([*command, *refresh, "*"], environment, folder, _ThisProcess())

        run()
        turns = take_turns([Contender("Dagster run", run)], bench.rounds(5))
    spent = turns.contenders[0].cpu_seconds
    return Row(
        "a Dagster refresh of all 119 tables, all unchanged, without daemon, code server and UI",
        turns.contenders,
        [Figure.of_value("processor time of all its processes", spent, "s", at_most(120, "s"))],
        turns.rounds,
        turns.service_share,
        "all its processes are that of the run (`dagster asset materialize`) and those that it "
        "starts for the steps, with checks and registration. The daemon, the code server and "
        "the UI serve all runs and are not counted.",
    )


class _ThisProcess:
    """The service, which runs in a thread of the bench, which only waits meanwhile."""

    def cpu_seconds(self) -> float:
        """Give the processor time of this process."""
        return time.process_time()


def _environment(service: RunningSandbox, folder: Path) -> Mapping[str, str]:
    home = folder / "home"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    return {
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(home),
        "DAP_API_URL": service.url,
        "DAP_CLIENT_ID": service.client_id,
        "DAP_CLIENT_SECRET": service.client_secret,
        "DAP_PIPELINE_DATA_DIR": str(folder / "data"),
        "DAP_PIPELINE_CREATES_PER_MINUTE": "1000000",
    }
