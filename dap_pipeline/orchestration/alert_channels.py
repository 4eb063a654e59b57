"""An alert, and the ways on which it reaches people."""

from __future__ import annotations

import importlib
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from enum import StrEnum

from dap_pipeline.errors import ConfigurationError
from dap_pipeline.settings import Settings, variable_of

_SMTP_SECONDS = 30.0


class AlertKind(StrEnum):
    """What an alert is about."""

    TABLE = "table"
    """A table could not be loaded."""
    CHECK = "check"
    """A check of a published table failed."""
    RUN = "run"
    """A run failed, and it is not known that a table did."""


@dataclass(frozen=True)
class Alert:
    """One thing that went wrong, in words without secrets or values of rows."""

    kind: AlertKind
    message: str
    """What happened, in sentences."""
    what_to_do: str
    run_id: str
    run_url: str
    """The run in Dagster's UI."""
    table: str = ""
    """``namespace.table``; empty where no table is concerned."""
    error: str = ""
    """Class of the error in ``dap_pipeline.errors``."""
    dap_error_type: str = ""
    """What DAP called the error, such as ``ProcessingError``."""
    uuid: str = ""
    """What Instructure's support asks for."""
    job_id: str = ""
    """The DAP job."""
    check: str = ""
    """Name of the failed check."""
    severity: str = ""
    """``ERROR`` or ``WARN``, of a check."""

    @property
    def title(self) -> str:
        """Say in a line what it is about."""
        if self.kind is AlertKind.CHECK:
            return f"{self.table}: the check {self.check} failed ({self.severity})"
        return f"{self.table} could not be loaded" if self.table else "A run failed"

    @property
    def text(self) -> str:
        """Say everything that is known, a line each."""
        facts = (
            ("What to do", "" if self.what_to_do in self.message else self.what_to_do),
            ("Error", self.error),
            ("DAP error type", self.dap_error_type),
            ("uuid", self.uuid),
            ("Job", self.job_id),
            ("Run", self.run_url),
        )
        return "\n".join([self.message, *(f"{name}: {value}" for name, value in facts if value)])


Hook = Callable[[Alert], None]


@dataclass(frozen=True)
class Channel:
    """A way to people."""

    name: str
    send: Hook


def channels_of(settings: Settings) -> list[Channel]:
    """Give the channels that the settings name.

    Raises:
        ConfigurationError: a setting has another form, or one that belongs to it is missing.
    """
    channels = []
    if settings.alert_hook:
        channels.append(Channel("your function", _own_function(settings.alert_hook)))
    if settings.alert_slack_channel:
        channels.append(Channel("Slack", _slack(settings)))
    if settings.alert_email_to:
        channels.append(Channel("e-mail", _mail(settings)))
    return channels


def _own_function(place: str) -> Hook:
    module, _, name = place.partition(":")
    if not module or not name.isidentifier():
        raise ConfigurationError(
            f"{variable_of('alert_hook')} is {place!r}",
            advice="Name a function as `module:function`, such as `school.alerts:tell`.",
        )

    def send(alert: Alert) -> None:
        getattr(importlib.import_module(module), name)(alert)

    return send


def _slack(settings: Settings) -> Hook:
    token, channel = settings.alert_slack_token.get_secret_value(), settings.alert_slack_channel
    if not token:
        raise _lacking("alert_slack_channel", "alert_slack_token")
    try:
        from dagster_slack import SlackResource
    except ImportError:
        raise ConfigurationError(
            f"{variable_of('alert_slack_channel')} is set and dagster-slack is not installed",
            advice="Install it with `pip install 'dap-pipeline[slack]'`.",
        ) from None

    def send(alert: Alert) -> None:
        client = SlackResource(token=token).get_client()
        client.chat_postMessage(channel=channel, text=f"*{alert.title}*\n{alert.text}")

    return send


def _mail(settings: Settings) -> Hook:
    # Dagster's own e-mail sensor knows failed runs only, and always logs in with a password.
    if not settings.alert_email_from:
        raise _lacking("alert_email_to", "alert_email_from")

    def send(alert: Alert) -> None:
        mail = EmailMessage()
        mail["Subject"] = " ".join(alert.title.split())
        mail["From"] = settings.alert_email_from
        mail["To"] = ", ".join(part.strip() for part in settings.alert_email_to.split(","))
        mail.set_content(alert.text)
        secret = settings.alert_smtp_password.get_secret_value()
        host, port = settings.alert_smtp_host, settings.alert_smtp_port
        with smtplib.SMTP(host, port, timeout=_SMTP_SECONDS) as server:
            if secret:
                server.starttls()
                server.login(settings.alert_smtp_user or settings.alert_email_from, secret)
            server.send_message(mail)

    return send


def _lacking(given: str, missing: str) -> ConfigurationError:
    return ConfigurationError(f"{variable_of(given)} is set and {variable_of(missing)} is not")
