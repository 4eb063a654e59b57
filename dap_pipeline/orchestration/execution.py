"""How runs are executed: each step in its own process, about ten at a time; and how they talk."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping

import dagster as dg

from dap_pipeline.settings import Settings

# Imported once per run by the server that the steps are forked from: a step then starts in a
# third of the time. A name that another version of Dagster does not have is passed over.
_PRELOADED = [
    "dap_pipeline.definitions",
    "dap_pipeline.lake.engine",
    "dap_pipeline.warehouse",
    "alembic.command",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._daemon",
    "upath",
]


def build_executor(settings: Settings) -> dg.ExecutorDefinition:
    """Make the executor; `max_concurrent` and `in_process` can be set for one run in the UI.

    Dagster's own default, one step per core, would turn a refresh of half an hour into hours:
    a step mostly waits for DAP.
    """

    @dg.configured(
        dg.multi_or_in_process_executor,
        config_schema={
            "max_concurrent": dg.Field(
                int,
                default_value=settings.parallel_tables,
                description="Tables in flight at the same time.",
            ),
            "in_process": dg.Field(
                bool,
                default_value=False,
                description="Run one step after the other in the process of the run.",
            ),
        },
    )
    def tables_in_processes(config: Mapping[str, object]) -> dict[str, object]:
        if config["in_process"]:
            return {"in_process": {}}
        multiprocess = {
            "max_concurrent": config["max_concurrent"],
            "start_method": _start_method(),
        }
        return {"multiprocess": multiprocess}

    return tables_in_processes


def _start_method() -> dict[str, object]:
    if "forkserver" in multiprocessing.get_all_start_methods():
        return {"forkserver": {"preload_modules": _PRELOADED}}
    return {"spawn": {}}


@dg.configured(
    dg.colored_console_logger,
    config_schema={"log_level": dg.Field(str, default_value="INFO", description="Least level.")},
)
def console_logger(config: Mapping[str, object]) -> dict[str, object]:
    """Write to the console what people want to read; Dagster's default is every event."""
    return {"log_level": config["log_level"]}
