"""The SQL of one table's view and its comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from dap_pipeline.lake.columns import Column, Mask
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.references import Target, targets_of
from dap_pipeline.lake.sql import identifier, literal, literals

_MASKS = {
    Mask.HASH: "Masked: a keyed hash stands for the value.",
    Mask.NULL: "Masked: the value is left out.",
}


def view_name(table: PublishedTable) -> str:
    """Quote the view's full name."""
    return f"{identifier(table.name.namespace)}.{identifier(table.name.table)}"


def create_view(
    connection: duckdb.DuckDBPyConnection, table: PublishedTable, stored: Mapping[str, str]
) -> None:
    """Create the table's view over its current files, with comments; see ``stored_types``."""
    connection.execute(";\n".join([_view(table, stored), *comments_of(table)]))


def outline_of(table: PublishedTable) -> str:
    """Write the view's statements without a look into the files, which never change."""
    return ";\n".join([_view(table, {}), *comments_of(table)])


def select_of(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> str:
    """Write the query that the view of a version of the table stands for."""
    return _select(table, stored_types(connection, table))


def stored_types(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> Mapping[str, str]:
    """Give the type of each column that the files have, by the column's casefolded name."""
    if not table.files:
        return {}
    rows = connection.execute(f"DESCRIBE SELECT * FROM {_scan(table)}").fetchall()
    return {name.casefold(): kind for name, kind, *_ in rows}


def _scan(table: PublishedTable) -> str:
    # A file that is older than a column of the table does not have it: then DuckDB must look
    # into every file, else one look into the first is enough.
    union = ", union_by_name = true" if len(table.files) > 1 else ""
    return f"read_parquet({literals(list(table.files))}{union}, hive_partitioning = false)"


def _view(table: PublishedTable, stored: Mapping[str, str]) -> str:
    return f"CREATE VIEW {view_name(table)} AS {_select(table, stored)}"


def _select(table: PublishedTable, stored: Mapping[str, str]) -> str:
    columns = ",\n    ".join(_projection(column, stored) for column in table.shape.columns)
    source = f"FROM {_scan(table)}" if table.files else "WHERE false"
    return f"SELECT\n    {columns}\n{source}"


def _projection(column: Column, stored: Mapping[str, str]) -> str:
    name, kind = identifier(column.name), column.duckdb_type
    found = stored.get(column.name.casefold())
    if found == kind:
        return name
    return f"CAST({name if found else 'NULL'} AS {kind}) AS {name}"


def comments_of(table: PublishedTable) -> list[str]:
    """Write the statements that describe a view and its columns."""
    view, targets = view_name(table), targets_of(table.name)
    named = [
        f"COMMENT ON COLUMN {view}.{identifier(column.name)} IS {literal(text)}"
        for column in table.shape.columns
        if (text := column_comment(column, targets.get(column.name, ())))
    ]
    if not table.shape.description:
        return named
    return [f"COMMENT ON VIEW {view} IS {literal(table.shape.description)}", *named]


def column_comment(column: Column, targets: Sequence[Target] = ()) -> str:
    """Say what the column holds, which values it permits, what it refers to, how it is masked."""
    values = f"One of: {', '.join(map(str, column.members))}." if column.members else ""
    referred = " or ".join(f"{target.table}.{target.column}" for target in targets)
    refers = f"Refers to {referred}." if referred else ""
    mask = _MASKS[column.masked] if column.masked is not None else ""
    return " ".join(text for text in (column.description, values, refers, mask) if text)
