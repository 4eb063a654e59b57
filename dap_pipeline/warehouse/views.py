"""The SQL of one table's view and its comments."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from dap_pipeline.lake.columns import Column
from dap_pipeline.lake.records import PublishedTable
from dap_pipeline.lake.sql import identifier, literal, literals


def view_name(table: PublishedTable) -> str:
    """Quote the view's full name."""
    return f"{identifier(table.name.namespace)}.{identifier(table.name.table)}"


def create_view(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> None:
    """Create the table's view over its current files, with comments."""
    statements = [_view(table, stored_types(connection, table)), *_comments(table)]
    connection.execute(";\n".join(statements))


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
    columns = ",\n    ".join(_projection(column, stored) for column in table.shape.columns)
    source = f"FROM {_scan(table)}" if table.files else "WHERE false"
    return f"CREATE VIEW {view_name(table)} AS SELECT\n    {columns}\n{source}"


def _projection(column: Column, stored: Mapping[str, str]) -> str:
    name, kind = identifier(column.name), column.duckdb_type
    found = stored.get(column.name.casefold())
    if found == kind:
        return name
    return f"CAST({name if found else 'NULL'} AS {kind}) AS {name}"


def _comments(table: PublishedTable) -> list[str]:
    view = view_name(table)
    named = [
        f"COMMENT ON COLUMN {view}.{identifier(column.name)} IS {literal(text)}"
        for column in table.shape.columns
        if (text := column_comment(column))
    ]
    if not table.shape.description:
        return named
    return [f"COMMENT ON VIEW {view} IS {literal(table.shape.description)}", *named]


def column_comment(column: Column) -> str:
    """Say what the column holds and, for an enumeration, which values it permits."""
    values = f"One of: {', '.join(map(str, column.members))}." if column.members else ""
    return " ".join(text for text in (column.description, values) if text)
