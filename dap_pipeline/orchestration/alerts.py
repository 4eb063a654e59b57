"""Tells people when a table failed or a check did: by their own function, Slack or e-mail.

A run that ended is looked at once, by one of two sensors: for failed runs, and for the checks of
runs that succeeded. They are there only when a setting names a channel, and then they run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, EventLogEntry, MetadataValue

from dap_pipeline.orchestration.alert_channels import Alert, AlertKind, Channel, channels_of
from dap_pipeline.orchestration.failing import NOT_TRIED
from dap_pipeline.settings import Settings

if TYPE_CHECKING:
    # What a failed step leaves in the log; Dagster does not export its name.
    from dagster._core.execution.plan.objects import StepFailureData

ON_FAILURE, ON_CHECKS = "alert_on_failed_runs", "alert_on_failed_checks"

_SEE_THE_RUN = "See the log of the run."


def build_alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Make the sensors, if a channel is set.

    Raises:
        ConfigurationError: the setting of a channel cannot be used.
    """
    channels = channels_of(settings)
    if not channels:
        return []

    @dg.run_failure_sensor(
        name=ON_FAILURE,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells what failed in a run, and which checks did.",
    )
    def on_failed_runs(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run.run_id
        alerts = [*_failures(context, settings), *_failed_checks(context, run, settings)]
        _send(alerts, channels, context.log)

    @dg.run_status_sensor(
        run_status=DagsterRunStatus.SUCCESS,
        name=ON_CHECKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells which checks failed in a run that succeeded.",
    )
    def on_failed_checks(context: dg.RunStatusSensorContext) -> None:
        run = context.dagster_run.run_id
        _send(list(_failed_checks(context, run, settings)), channels, context.log)

    return [on_failed_runs, on_failed_checks]


def _send(alerts: Sequence[Alert], channels: Sequence[Channel], log: logging.Logger) -> None:
    """Send every alert to every channel; the tick fails when one could not be sent."""
    failed: list[str] = []
    for channel in channels:
        for alert in alerts:
            try:
                channel.send(alert)
            except Exception as error:
                # Its words may repeat an address or token.
                failed.append(f"{channel.name} ({type(error).__name__})")
                break
    log.info(f"{len(alerts)} alerts, {len(channels)} channels.")
    if failed:
        raise dg.Failure(f"Alerts could not be sent by {', '.join(failed)}.")


def _failures(context: dg.RunFailureSensorContext, settings: Settings) -> Iterator[Alert]:
    """Give one alert for each failed step, but for those that another failure kept from trying."""
    run_id = context.dagster_run.run_id
    events = context.get_step_failure_events()
    for event in events:
        alert = _alert_of_step(event.step_key or "", event.step_failure_data, run_id, settings)
        if alert is not None:
            yield alert
    if not events:
        yield Alert(
            kind=AlertKind.RUN,
            message="The run failed before any of its steps did.",
            what_to_do=_SEE_THE_RUN,
            run_id=run_id,
            run_url=_link(settings, run_id),
        )


def _alert_of_step(
    step: str, data: StepFailureData, run_id: str, settings: Settings
) -> Alert | None:
    ours = data.user_failure_data
    known = _texts(ours.metadata) if ours else {}
    if NOT_TRIED in known:
        return None
    if ours is None or "error" not in known:
        # The words of an exception that is not ours may hold anything.
        message = f"{step} failed by an error that was not expected."
    else:
        message = ours.description or f"{step} failed."
    place = (known.get("namespace"), known.get("table"))
    return Alert(
        kind=AlertKind.TABLE if all(place) else AlertKind.RUN,
        message=message,
        what_to_do=known.get("what_to_do", _SEE_THE_RUN),
        table=".".join(part for part in place if part),
        error=known.get("error", ""),
        dap_error_type=known.get("dap_error_type", ""),
        uuid=known.get("uuid", ""),
        job_id=known.get("job_id", ""),
        run_id=run_id,
        run_url=_link(settings, run_id),
    )


def _failed_checks(
    context: dg.RunStatusSensorContext, run_id: str, settings: Settings
) -> Iterator[Alert]:
    entries = context.instance.all_logs(run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
    for entry in entries:
        evaluation = _evaluation(entry)
        if evaluation is None or evaluation.passed:
            continue
        warns = evaluation.severity is dg.AssetCheckSeverity.WARN
        if warns and not settings.alert_warnings:
            continue
        yield Alert(
            kind=AlertKind.CHECK,
            message=evaluation.description or f"The check {evaluation.check_name} failed.",
            what_to_do="See the check on the page of the asset.",
            table=".".join(evaluation.asset_key.path),
            check=evaluation.check_name,
            severity=evaluation.severity.value,
            run_id=run_id,
            run_url=_link(settings, run_id),
        )


def _evaluation(entry: EventLogEntry) -> dg.AssetCheckEvaluation | None:
    event = entry.dagster_event
    data = None if event is None else event.event_specific_data
    return data if isinstance(data, dg.AssetCheckEvaluation) else None


def _texts(metadata: Mapping[str, MetadataValue]) -> dict[str, str]:
    return {name: str(item.value) for name, item in metadata.items()}


def _link(settings: Settings, run_id: str) -> str:
    return f"{settings.ui_url.rstrip('/')}/runs/{run_id}"
