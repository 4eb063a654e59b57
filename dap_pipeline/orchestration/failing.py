"""Turns our failures into Dagster's, and lets one that concerns every table end the run early."""

from __future__ import annotations

import dagster as dg
from dagster import DagsterEventType

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import DapPipelineError

_ENDS_RUN = "ends_run"
NOT_TRIED = "not_tried"
"""Marks a table that another table's failure kept from being tried."""


def as_failure(error: DapPipelineError) -> dg.Failure:
    """Say a failure once: what, where, and what to do, with its ids as metadata."""
    place = error.place
    known = {
        "namespace": place.namespace,
        "table": place.table,
        "job_id": place.job_id,
        "uuid": place.uuid,
        "dap_error_type": place.error_type,
    }
    metadata: dict[str, str | bool] = {
        "error": type(error).__name__,
        "what_to_do": error.what_to_do,
        _ENDS_RUN: error.ends_run,
        **{name: value for name, value in known.items() if value},
    }
    return dg.Failure(str(error), metadata=metadata, allow_retries=error.retryable)


def fail_with_the_run(context: dg.AssetExecutionContext, name: TableName) -> None:
    """Fail at once when another table of the run met a failure that concerns every table.

    The run's own log tells it, so it works for steps in other processes and on other machines,
    and a new run begins afresh.

    Raises:
        dagster.Failure: with the other table's words.
    """
    for entry in context.instance.all_logs(
        context.run.run_id, of_type=DagsterEventType.STEP_FAILURE
    ):
        event = entry.dagster_event
        data = event.step_failure_data.user_failure_data if event else None
        ends_run = data.metadata.get(_ENDS_RUN) if data else None
        if data and ends_run and ends_run.value is True:
            raise dg.Failure(
                f"{name} was not tried, because of a failure that concerns every table. "
                f"{data.description}",
                metadata={**data.metadata, NOT_TRIED: True},
                allow_retries=False,
            )
