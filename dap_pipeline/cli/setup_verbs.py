"""The verbs that explain settings and set up the shell."""

from __future__ import annotations

from datetime import timedelta

import click
from click.shell_completion import get_completion_class
from pydantic import SecretStr, TypeAdapter

from dap_pipeline.cli.common import Globals, json_option, pass_globals, print_json
from dap_pipeline.settings import Settings, variable_of

_PAGE_HEAD = (
    "# Settings",
    "",
    "A setting is taken from the environment, else from a `.env` file in the folder where the",
    "command runs, else from `[tool.dap_pipeline]` in `pyproject.toml` there (without the prefix,",
    "in lower case: `data_dir`), else from its default. `dap-pipeline settings` shows what holds.",
    "This page is made by `dap-pipeline settings --markdown`.",
    "",
    "| name | default | meaning |",
    "|---|---|---|",
)


@click.command()
@click.option("--markdown", is_flag=True, help="Give names, defaults and meanings as a page.")
@json_option("the settings")
@pass_globals
def settings(choices: Globals, markdown: bool, as_json: bool) -> None:
    """Show every setting with its present value and its meaning."""
    if markdown:
        click.echo(settings_page(), nl=False)
        return
    current = choices.settings()
    rows = [
        {
            "name": variable_of(name),
            "value": _shown(getattr(current, name)),
            "meaning": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['name']}={row['value']}\n    {row['meaning']}")


def settings_page() -> str:
    """Write the page of all settings with their defaults."""
    rows = [
        f"| `{variable_of(name)}` | {_code(_shown(field.default))} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join([*_PAGE_HEAD, *rows, ""])


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else ""
    if isinstance(value, timedelta):
        return str(TypeAdapter(timedelta).dump_python(value, mode="json"))
    return f"{value:g}" if isinstance(value, float) else str(value)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash: `eval "$(dap-pipeline completion bash)"`.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    script = kind(context.find_root().command, {}, "dap-pipeline", "_DAP_PIPELINE_COMPLETE")
    click.echo(script.source())
