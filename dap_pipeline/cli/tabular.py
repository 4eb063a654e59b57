"""Tables of text on standard output."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_NUMBERS = {"rows", "bytes", "change", "version", "inserted", "updated", "deleted"}


def print_table(headings: list[str], rows: list[list[str]]) -> None:
    """Print a table as wide as it needs to be; columns of numbers stand on the right."""
    # rich would cut words to fit a terminal, or a pipe, of 80 columns.
    console = Console(width=1000)
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table, highlight=False)


def text_of(value: object) -> str:
    """Write a value for such a table; what is not there is nothing."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
