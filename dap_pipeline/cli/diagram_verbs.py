"""The verb that draws tables and what they refer to."""

from __future__ import annotations

from pathlib import Path

import click

from dap_pipeline.cli.common import Globals, namespace_option, pass_globals, table_option, warn
from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.selection import select_tables
from dap_pipeline.errors import LakeError, UnknownTableError
from dap_pipeline.lake.columns import TableShape, shape_of
from dap_pipeline.lake.diagrams import Shown, draw
from dap_pipeline.lake.masking import Masking
from dap_pipeline.lake.tables import Lake
from dap_pipeline.settings import Settings


@click.command()
@namespace_option
@table_option
@click.option(
    "--output",
    default="-",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="The SVG file to write; `-`, the default, is standard output.",
)
@click.option(
    "--columns",
    type=click.Choice([each.value for each in Shown]),
    default=Shown.KEYS.value,
    show_default=True,
    help="Name keys and references only, or all columns.",
)
@pass_globals
def diagram(choices: Globals, namespace: str, tables: str, output: Path, columns: str) -> None:
    """Draw tables and what they refer to, as an SVG picture.

    Tables that were loaded are drawn as they are in the lake, others as the catalogue has them. DAP
    is not asked.
    """
    settings = choices.settings()
    names = _selected(settings, namespace, tables)
    picture = draw([(name, _shape(settings, name)) for name in names], shown=Shown(columns))
    with click.open_file(str(output), "w", encoding="utf-8") as file:
        file.write(picture.svg)
    where = "" if str(output) == "-" else f" in {output}"
    choices.say(f"{picture.tables} tables and {picture.references} references{where}.")


def _selected(settings: Settings, namespace: str, tables: str) -> list[TableName]:
    catalogue, lake = load_catalogue(settings.catalogue_dir), Lake(settings.lake_dir)

    def known(space: str) -> list[str]:
        loaded = [name.table for name in lake.names() if name.namespace == space]
        listed = [name.table for name in catalogue.names(space)]
        if not loaded and not listed:
            raise UnknownTableError(f"neither the lake nor the catalogue has tables of {space}")
        return sorted({*loaded, *listed})

    return list(select_tables(namespace, tables, catalogue, known))


def _shape(settings: Settings, name: TableName) -> TableShape:
    listed = load_catalogue(settings.catalogue_dir).get(name)
    try:
        published = Lake(settings.lake_dir).table(name)
    except LakeError as error:
        if listed is None:
            raise
        warn(f"{error} It is drawn as the catalogue has it.")
        published = None
    if published is not None:
        return published.shape
    if listed is None:
        raise UnknownTableError(f"neither the lake nor the catalogue has the table {name}")
    return Masking.from_settings(settings).shown(name, shape_of(listed.schema))
