# Dagster compares annotations with its classes, so they are not postponed.

import json
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError, LoginRefusedError, Place
from dap_pipeline.orchestration.alert_channels import Alert, AlertKind, channels_of
from dap_pipeline.orchestration.alerts import ON_CHECKS, ON_FAILURE, build_alert_sensors
from dap_pipeline.orchestration.failing import as_failure, fail_with_the_run
from dap_pipeline.settings import Settings, load_settings

from .school import (
    USERS,
    WEB_LOGS,
    RefusedTable,
    definitions_for,
    materialize,
    settings_for,
    small_sandbox,
)

HOOK = "a_school_of_the_tests"
SECRET = "not-to-be-told-to-anyone"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own function, in a module of its own, that writes what it is told into a file."""
    file = tmp_path / "told.jsonl"
    (tmp_path / f"{HOOK}.py").write_text(
        "import json\n"
        "from dataclasses import asdict\n"
        "def tell(alert):\n"
        f"    with open({str(file)!r}, 'a') as out:\n"
        "        out.write(json.dumps({**asdict(alert), 'title': alert.title}) + '\\n')\n"
        "def fail(alert):\n"
        f"    raise RuntimeError({SECRET!r})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, HOOK, raising=False)
    return file


def lines_of(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def hooked(name: str = "tell", **more: object) -> Settings:
    return load_settings(alert_hook=f"{HOOK}:{name}", ui_url="http://dagster.school/", **more)


def sensor_named(settings: Settings, name: str) -> dg.SensorDefinition:
    [sensor] = [sensor for sensor in build_alert_sensors(settings) if sensor.name == name]
    return sensor


def tick(settings: Settings, instance: dg.DagsterInstance, run_id: str, name: str) -> None:
    """Let a sensor look at a run that ended, as the daemon does."""
    run = instance.get_run_by_id(run_id)
    assert run
    failed = name == ON_FAILURE
    kind = dg.DagsterEventType.RUN_FAILURE if failed else dg.DagsterEventType.RUN_SUCCESS
    [entry] = instance.all_logs(run_id, of_type=kind)
    assert entry.dagster_event
    context = dg.build_run_status_sensor_context(
        sensor_name=name,
        dagster_instance=instance,
        dagster_run=run,
        dagster_event=entry.dagster_event,
    )
    sensor_named(settings, name)(context.for_run_failure() if failed else context)


def test_without_a_channel_there_is_no_sensor() -> None:
    assert build_alert_sensors(load_settings()) == []


def test_with_a_channel_both_sensors_run_from_the_start() -> None:
    sensors = build_alert_sensors(hooked())
    assert {sensor.name for sensor in sensors} == {ON_FAILURE, ON_CHECKS}
    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.RUNNING}


def test_a_failed_table_is_told_with_its_error_its_uuid_and_a_link(
    tmp_path: Path,
    told: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with small_sandbox(tmp_path / "school", RefusedTable("users")) as sandbox:
        settings = settings_for(sandbox, tmp_path)
        definitions = definitions_for(settings, monkeypatch)
        result = materialize(definitions, [USERS, WEB_LOGS], instance)
        secret = sandbox.client_secret
    tick(hooked(), instance, result.run_id, ON_FAILURE)
    [alert] = lines_of(told)
    assert alert["kind"] == "table"
    assert alert["title"] == "canvas.users could not be loaded"
    assert alert["error"] == "InvalidQueryError"
    assert alert["dap_error_type"] == "ValidationError"
    assert alert["uuid"] in alert["message"]
    assert alert["run_url"] == f"http://dagster.school/runs/{result.run_id}"
    assert secret not in told.read_text()


def run_of(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> str:
    return dg.materialize(list(assets), instance=instance, raise_on_error=False).run_id


def test_an_unexpected_error_is_told_without_its_words(
    told: Path, instance: dg.DagsterInstance
) -> None:
    @dg.asset
    def odd() -> None:
        raise RuntimeError(SECRET)

    tick(hooked(), instance, run_of(instance, odd), ON_FAILURE)
    [alert] = lines_of(told)
    assert alert["message"] == "odd failed by an error that was not expected."
    assert SECRET not in told.read_text()


def test_tables_that_were_not_tried_add_no_alert(told: Path, instance: dg.DagsterInstance) -> None:
    refused = LoginRefusedError("the login was refused", place=Place("canvas", "users"))

    @dg.asset
    def first() -> None:
        raise as_failure(refused)

    @dg.asset
    def second(context: dg.AssetExecutionContext) -> None:
        fail_with_the_run(context, TableName("canvas", "courses"))

    tick(hooked(), instance, run_of(instance, first, second), ON_FAILURE)
    assert [alert["table"] for alert in lines_of(told)] == ["canvas.users"]


def checked(severity: dg.AssetCheckSeverity) -> dg.AssetsDefinition:
    @dg.asset(
        key=["canvas", "users"], check_specs=[dg.AssetCheckSpec("rows", asset=["canvas", "users"])]
    )
    def users() -> Iterator[dg.MaterializeResult[None]]:
        yield dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(
                    passed=False,
                    check_name="rows",
                    severity=severity,
                    description="There are no rows.",
                )
            ]
        )

    return users


def test_a_failed_check_of_a_run_that_succeeded_is_told(
    told: Path, instance: dg.DagsterInstance
) -> None:
    run = run_of(instance, checked(dg.AssetCheckSeverity.ERROR))
    tick(hooked(), instance, run, ON_CHECKS)
    [alert] = lines_of(told)
    assert alert["title"] == "canvas.users: the check rows failed (ERROR)"
    assert alert["message"] == "There are no rows."


@pytest.mark.parametrize(("wanted", "count"), [(False, 0), (True, 1)])
def test_a_check_that_only_warns_is_told_on_request(
    told: Path, instance: dg.DagsterInstance, wanted: bool, count: int
) -> None:
    run = run_of(instance, checked(dg.AssetCheckSeverity.WARN))
    tick(hooked(alert_warnings=wanted), instance, run, ON_CHECKS)
    assert len(lines_of(told)) == count


def test_a_function_that_fails_fails_the_tick_without_its_words(
    told: Path, instance: dg.DagsterInstance
) -> None:
    run = run_of(instance, checked(dg.AssetCheckSeverity.ERROR))
    with pytest.raises(Exception, match=r"your function \(RuntimeError\)") as caught:
        tick(hooked("fail"), instance, run, ON_CHECKS)
    assert SECRET not in str(caught.value)


class _MailServer(socketserver.StreamRequestHandler):
    """As much of SMTP as a mail needs."""

    received: list[str]

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.received.append(text.decode())  # type: ignore[attr-defined]  # ours
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 well\r\n")
            if word == b"QUIT":
                return


@pytest.fixture
def mail_server() -> Iterator[socketserver.TCPServer]:
    with socketserver.TCPServer(("127.0.0.1", 0), _MailServer) as server:
        server.received = []  # type: ignore[attr-defined]  # read by the test
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


ALERT = Alert(
    kind=AlertKind.TABLE,
    message="canvas.users: DAP failed. Run it again.",
    what_to_do="Run it again.",
    run_id="r",
    run_url="http://localhost:3000/runs/r",
    table="canvas.users",
    uuid="u-1",
)


def test_an_e_mail_has_subject_words_uuid_and_link(mail_server: socketserver.TCPServer) -> None:
    settings = load_settings(
        alert_email_to="a@school.example, b@school.example",
        alert_email_from="dagster@school.example",
        alert_smtp_host="127.0.0.1",
        alert_smtp_port=mail_server.server_address[1],
    )
    [channel] = channels_of(settings)
    channel.send(ALERT)
    [mail] = mail_server.received  # type: ignore[attr-defined]  # made by the fixture
    assert "Subject: canvas.users could not be loaded" in mail
    assert "To: a@school.example, b@school.example" in mail
    assert "uuid: u-1" in mail
    assert "http://localhost:3000/runs/r" in mail
    assert mail.count("Run it again.") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alert_hook": "school.alerts"}, "module:function"),
        ({"alert_hook": "school:not a name"}, "module:function"),
        ({"alert_slack_channel": "#data"}, "DAP_PIPELINE_ALERT_SLACK_TOKEN is not"),
        ({"alert_email_to": "a@school.example"}, "DAP_PIPELINE_ALERT_EMAIL_FROM is not"),
    ],
)
def test_a_setting_that_cannot_work_is_told_when_the_definitions_load(
    given: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        build_alert_sensors(load_settings(**given))


def test_slack_is_told_by_dagsters_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    slack = pytest.importorskip("dagster_slack")
    sent: list[dict[str, str]] = []

    class Client:
        def chat_postMessage(self, **message: str) -> None:  # noqa: N802  # Slack's name
            sent.append(message)

    monkeypatch.setattr(slack.SlackResource, "get_client", lambda _: Client())
    settings = load_settings(alert_slack_channel="#data", alert_slack_token=SECRET)
    [channel] = channels_of(settings)
    channel.send(ALERT)
    [message] = sent
    assert message["channel"] == "#data"
    assert message["text"].startswith("*canvas.users could not be loaded*")
    assert SECRET not in repr(settings)
