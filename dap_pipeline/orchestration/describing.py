"""What the UI shows about a table: its columns, where it comes from, what a load brought."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from dagster import MetadataValue, TableSchema

from dap_pipeline.dap.catalogue import CatalogueTable
from dap_pipeline.dap.models import TableName, format_instant
from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.columns import Column, Section, TableShape, shape_of
from dap_pipeline.lake.records import LoadResult, PublishedTable
from dap_pipeline.settings import Settings

Metadata = dict[str, MetadataValue | TableSchema | str | int | float]

EMBEDDED = "the embedded service, with a made-up school"


def source_of(settings: Settings) -> str:
    """Say in words which service the data comes from."""
    return EMBEDDED if settings.sandbox else settings.api_url


def description_of(table: CatalogueTable, settings: Settings) -> str:
    """Say what one row of the table is and which service it comes from.

    The list of assets shows the beginning of these words, on one line and without markup.
    """
    shape = _shape_of(table)
    what = shape.description if shape and shape.description else f"The table {table.name}"
    if settings.sandbox:
        what = f"Made-up school: {what[:1].lower()}{what[1:]}"
    return f"{what.rstrip('.')}. Source: {source_of(settings)}."


def table_metadata(table: CatalogueTable, settings: Settings) -> Metadata:
    """Describe a table by the catalogue, before anything is loaded."""
    folder = settings.lake_dir / table.name.namespace / table.name.table
    return {
        "dagster/table_name": str(table.name),
        "dagster/uri": folder.as_uri(),
        "source": source_of(settings),
        **_columns_of(_shape_of(table)),
    }


def view_metadata(table: CatalogueTable, settings: Settings) -> Metadata:
    """Describe a table's view in DuckDB, before it is registered."""
    return {
        "dagster/table_name": str(table.name),
        "dagster/uri": settings.warehouse_file.as_uri(),
        "source": source_of(settings),
        "sample_sql": sample_sql(table.name),
        **_columns_of(_shape_of(table)),
    }


def load_metadata(result: LoadResult) -> Metadata:
    """Describe what a load did and what is published after it."""
    table = result.table
    known: Metadata = {
        **published_metadata(table),
        "outcome": result.outcome.value,
        "kind": table.load.kind.value,
        "job_id": table.load.job_id,
        "schema_version": table.load.schema_version,
        "lake_version": table.version,
        "objects": result.objects,
        "downloaded_bytes": result.downloaded_bytes,
        "seconds_waiting": round(result.seconds_waiting, 3),
        "seconds_downloading": round(result.seconds_downloading, 3),
        "seconds_rewriting": round(result.seconds_rewriting, 3),
    }
    if result.previous_rows is not None:
        known["previous_rows"] = result.previous_rows
        known["rows_added"] = table.rows - result.previous_rows
    return known


def published_metadata(table: PublishedTable) -> Metadata:
    """Describe the current version of a table."""
    return {
        "dagster/row_count": table.rows,
        "dagster/size_bytes": table.bytes,
        "dagster/column_schema": column_schema(table.shape),
        "as_of": MetadataValue.timestamp(table.load.at),
        "checked_at": MetadataValue.timestamp(table.checked_at),
        "columns": len(table.shape.columns),
        "files": len(table.files),
    }


def registration_metadata(table: PublishedTable, file: Path, seconds: float) -> Metadata:
    """Describe a table's view after a build of the warehouse."""
    return {
        **published_metadata(table),
        "warehouse": MetadataValue.path(file),
        "sample_sql": sample_sql(table.name),
        "seconds_building": round(seconds, 3),
    }


def data_version(table: PublishedTable) -> dg.DataVersion:
    """Name the state of a table: the schema version, and DAP's instant."""
    return dg.DataVersion(f"{table.load.schema_version}@{format_instant(table.load.at)}")


def sample_sql(name: TableName) -> MetadataValue:
    """Give a query to begin with."""
    return MetadataValue.md(f"```sql\nFROM {name} LIMIT 10;\n```")


def column_schema(shape: TableShape) -> TableSchema:
    """Describe the columns as Dagster's own metadata."""
    alone = len(shape.key) == 1
    return TableSchema(
        columns=[_column(column, alone) for column in shape.columns],
        constraints=dg.TableConstraints(other=[f"key: {', '.join(shape.key)}"]),
    )


def _column(column: Column, key_alone: bool) -> dg.TableColumn:
    is_key = column.section is Section.KEY
    values = f"One of: {', '.join(map(str, column.members))}." if column.members else ""
    return dg.TableColumn(
        name=column.name,
        type=column.duckdb_type,
        description=" ".join(text for text in (column.description, values) if text) or None,
        constraints=dg.TableColumnConstraints(
            nullable=not column.required,
            unique=is_key and key_alone,
            other=["key"] if is_key else [],
        ),
    )


def _shape_of(table: CatalogueTable) -> TableShape | None:
    # A schema that cannot be read is told when the table is loaded; it must not take the
    # definitions of all other tables along.
    try:
        return shape_of(table.schema)
    except MisfitError:
        return None


def _columns_of(shape: TableShape | None) -> Metadata:
    return {"dagster/column_schema": column_schema(shape)} if shape else {}
