from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from dap_pipeline.cli.main import cli, run
from dap_pipeline.cli.setup_verbs import settings_page

ROOT = Path(__file__).parents[2]
CONTEXT = click.Context(cli)
VERBS = cli.list_commands(CONTEXT)


def command_of(verb: str) -> click.Command:
    command = cli.get_command(CONTEXT, verb)
    assert command
    return command


def options_of(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option) and not p.hidden]


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_verb_and_flag_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "-h"] if verb else ["-h"]) == 0
    text = capsys.readouterr().out
    command = command_of(verb) if verb else cli
    assert command.help
    for option in options_of(command):
        assert option.help, option.name
        assert option.opts[0] in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_flag_stands_in_the_readme(verb: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"`{verb}`" in readme or f"dap-pipeline {verb}" in readme
    for option in options_of(command_of(verb)):
        assert option.opts[0] in readme, (verb, option.opts[0])


def test_the_page_of_settings_is_the_one_that_the_code_makes() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_page(), "run `dap-pipeline settings --markdown > docs/settings.md`"


def test_settings_never_show_the_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAP_CLIENT_SECRET", "very-secret")
    assert run(["settings"]) == 0
    assert run(["settings", "--json"]) == 0
    text = capsys.readouterr().out
    assert "very-secret" not in text
    assert "DAP_CLIENT_SECRET=(set)" in text


def test_settings_come_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settings", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    values = {row["name"]: row["value"] for row in rows}
    assert values["DAP_PIPELINE_VERIFY"] == "full"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["completion", shell]) == 0
    assert "_DAP_PIPELINE_COMPLETE" in capsys.readouterr().out


def test_tables_are_completed_within_their_namespace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_DAP_PIPELINE_COMPLETE", "bash_complete")
    monkeypatch.setenv(
        "COMP_WORDS", "dap-pipeline snapshot --namespace canvas --table courses,enrollment_t"
    )
    monkeypatch.setenv("COMP_CWORD", "5")
    with pytest.raises(SystemExit):
        cli.main(prog_name="dap-pipeline")
    assert capsys.readouterr().out.split() == ["plain,courses,enrollment_terms"]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("dap-pipeline, version 0.")


def test_a_setting_that_cannot_be_used_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAP_PIPELINE_PARALLEL_TABLES", "lots")
    assert run(["settings"]) == 2
    text = capsys.readouterr().err
    assert "DAP_PIPELINE_PARALLEL_TABLES" in text
    assert "lots" not in text
