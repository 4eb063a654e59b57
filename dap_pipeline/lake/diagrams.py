"""Draws tables and what they refer to as an entity-relationship picture, in SVG.

Graphviz lays the picture out. It comes with ``pygraphviz``, the extra ``diagrams`` of this package;
nothing else has to be installed.
"""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError
from dap_pipeline.lake.columns import Column, Section, TableShape
from dap_pipeline.lake.references import targets_of


class Shown(StrEnum):
    """Which columns a picture names."""

    KEYS = "keys"
    """Keys and references; the others are counted."""
    ALL = "all"


@dataclass(frozen=True)
class Picture:
    """A drawn selection of tables."""

    svg: str
    tables: int
    references: int
    """Columns that refer to a table of the picture, once for each such table."""


Tables = Sequence[tuple[TableName, TableShape]]

# Graphviz keeps global state.
_ONE_AT_A_TIME = threading.Lock()

_LOOK = (
    "rankdir=LR; ranksep=1.1; nodesep=0.25; bgcolor=white;",
    'node [shape=plain fontname="Helvetica" fontsize=11];',
    'edge [color="#5b6b7b" arrowhead=none arrowtail=crow dir=both arrowsize=0.7];',
)
_AT_EVERY_TEXT = (
    ' xml:space="preserve"',
    ' text-anchor="start"',
    ' font-family="Helvetica,sans-Serif"',
)
_STYLE = "<style>text {font-family: Helvetica, sans-serif; white-space: pre}</style>"
_HEAD, _KEY_ROW, _BORDER = "#1f4e79", "#e8eff6", "#9fb3c8"


def draw(tables: Tables, *, shown: Shown = Shown.KEYS) -> Picture:
    """Draw the tables, and an edge for each column that refers to another one of them.

    Raises:
        ConfigurationError: pygraphviz is not installed.
    """
    edges = list(_edges(tables))
    text = "\n".join(["digraph {", *_LOOK, *(_node(*t, shown) for t in tables), *edges, "}"])
    return Picture(_svg(text), len(tables), len(edges))


def _svg(dot: str) -> str:
    try:
        import pygraphviz  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        raise ConfigurationError(
            "pictures of tables are drawn by pygraphviz, which is not installed",
            advice="Install it with `pip install 'dap-pipeline[diagrams]'`.",
        ) from None
    with _ONE_AT_A_TIME:
        drawn: bytes = pygraphviz.AGraph(string=dot).draw(format="svg", prog="dot")
    return _compact(drawn.decode())


def _compact(svg: str) -> str:
    """Say once what Graphviz says at every text: a third less, which a page has to carry.

    Comments go too: the version of Graphviz in them would make the same picture another file.
    """
    svg = re.sub(r"<!--.*?-->\n?|<title>.*?</title>\n?", "", svg, flags=re.DOTALL)
    for repeated in _AT_EVERY_TEXT:
        svg = svg.replace(repeated, "")
    svg = re.sub(r"(\d\.\d)\d+", r"\1", svg)
    return svg.replace('<g id="graph0"', f'{_STYLE}\n<g id="graph0"', 1)


def _edges(tables: Tables) -> Iterator[str]:
    drawn = dict(tables)
    for name, shape in tables:
        there = {column.name for column in shape.columns}
        for column, targets in targets_of(name).items():
            for target in targets:
                if column in there and target.table in drawn:
                    yield (
                        f"{_id(name)}:{_quoted(column)}:e -> "
                        f"{_id(target.table)}:{_quoted(target.column)}:w;"
                    )


def _node(name: TableName, shape: TableShape, shown: Shown) -> str:
    referring = targets_of(name)
    rows, hidden = [_head(name)], 0
    for column in shape.columns:
        is_key = column.section is Section.KEY
        if is_key or column.name in referring or shown is Shown.ALL:
            rows.append(_row(column, is_key))
        else:
            hidden += 1
    if hidden:
        plural = "" if hidden == 1 else "s"
        grey = f'<font color="#777777" point-size="9">and {hidden} column{plural} more</font>'
        rows.append(f'<tr><td align="left">{grey}</td></tr>')
    table = f'<table border="1" color="{_BORDER}" cellborder="0" cellspacing="0" cellpadding="3">'
    return f"{_id(name)} [label=<{table}{''.join(rows)}</table>>];"


def _head(name: TableName) -> str:
    words = f'<font color="white"><b>{_text(name.table)}</b></font>'
    return f'<tr><td bgcolor="{_HEAD}" align="left">{words}</td></tr>'


def _row(column: Column, is_key: bool) -> str:
    marks = [column.kind.value, *(["key"] if is_key else [])]
    if column.masked is not None:
        marks.append("hashed" if column.masked == "hash" else "empty")
    name = f"<b>{_text(column.name)}</b>" if is_key else _text(column.name)
    about = f'<font color="#777777" point-size="9"> {_text(", ".join(marks))}</font>'
    shade = f' bgcolor="{_KEY_ROW}"' if is_key else ""
    return f'<tr><td port={_quoted(column.name)} align="left"{shade}>{name}{about}</td></tr>'


def _id(name: TableName) -> str:
    return _quoted(str(name))


def _quoted(text: str) -> str:
    escaped = html.escape(text).replace("\\", "\\\\")
    return f'"{escaped}"'


def _text(text: str) -> str:
    return html.escape(text, quote=True)
