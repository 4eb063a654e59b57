"""Quoting for SQL text, where DuckDB takes no parameters."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Quote a name of a schema, table, column or struct member."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text as an SQL string.

    A NUL cannot stand in DuckDB's string literals, so it is spliced in with ``chr(0)``.
    """
    pieces = ["'" + piece.replace("'", "''") + "'" for piece in text.split("\0")]
    return pieces[0] if len(pieces) == 1 else "(" + " || chr(0) || ".join(pieces) + ")"


def literals(texts: list[str]) -> str:
    """Quote texts as an SQL list, as the file readers take it."""
    return "[" + ", ".join(literal(text) for text in texts) + "]"
