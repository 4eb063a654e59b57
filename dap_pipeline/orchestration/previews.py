"""A few rows of a load as a table in the UI.

Dagster keeps what it shows in its event log, in its own storage and for as long as that is kept: a
copy of pupils' data beside the lake that no vacuum removes. So it is off until it is asked for
(`preview_rows`), and shows what is published: masked columns are masked in it.
"""

from __future__ import annotations

from dagster import MetadataValue

from dap_pipeline.lake.records import PublishedTable

_LONGEST_VALUE = 60
_MOST_COLUMNS = 25
# What Markdown, and the HTML in it, would take for more than a character.
_SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]()#+-.!|<>~&"})


def preview_metadata(table: PublishedTable, rows: int) -> dict[str, MetadataValue]:
    """Show the first rows of the table; nothing where no rows are asked for, or there are none."""
    if not rows or not table.rows:
        return {}
    return {"preview": MetadataValue.md(preview_of(table, rows))}


def preview_of(table: PublishedTable, rows: int) -> str:
    """Write the first rows of the table's first file that has some, as a table in Markdown."""
    # Not at the top: the definitions load without it.
    import pyarrow.parquet as pq

    names = [column.name for column in table.shape.columns]
    shown = names[:_MOST_COLUMNS]
    lines = [_line([_escaped(name) for name in shown]), _line(["---"] * len(shown))]
    for file in table.files:
        with pq.ParquetFile(file) as parquet:
            there = [name for name in shown if name in parquet.schema_arrow.names]
            batch = next(parquet.iter_batches(batch_size=rows, columns=there), None)
        if batch is not None and batch.num_rows:
            found = batch.slice(0, rows).to_pylist()
            lines += [_line([_cell(row.get(name)) for name in shown]) for row in found]
            break
    hidden = len(names) - len(shown)
    return "\n".join(lines) + (f"\n\nand {hidden} columns more" if hidden else "")


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = " ".join(str(value).split())
    return _escaped(text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…")


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
