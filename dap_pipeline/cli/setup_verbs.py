"""The verbs that explain settings and set up the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class
from pydantic import SecretStr

from dap_pipeline.cli.common import Globals, json_option, pass_globals, print_json
from dap_pipeline.settings import Settings, variable_of


@click.command()
@json_option("the settings")
@pass_globals
def settings(choices: Globals, as_json: bool) -> None:
    """Show every setting with its present value and its meaning."""
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


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else ""
    return str(value)


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
