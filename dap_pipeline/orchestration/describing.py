"""What the UI shows about a table: its columns, where it comes from, what a load brought."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import dagster as dg
from dagster import MetadataValue, TableSchema

from dap_pipeline.dap.catalogue import CatalogueTable
from dap_pipeline.dap.models import TableName, format_instant
from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.columns import Column, Mask, Section, TableShape, shape_of
from dap_pipeline.lake.evolution import ShapeChange
from dap_pipeline.lake.masking import Masking
from dap_pipeline.lake.records import LoadResult, PublishedTable
from dap_pipeline.lake.references import Target, targets_of
from dap_pipeline.orchestration.naming import table_key
from dap_pipeline.settings import Settings

Metadata = dict[str, MetadataValue | TableSchema | str | int | float]

MASKED_TAG = "dap/masked"
"""Tag of a masked column in the UI; its value is ``hash`` or ``null``."""

_DOCUMENTATION = "https://developerdocs.instructure.com/services/dap/dataset/dataset-namespaces"
_PAGES = {"canvas": "dataset-canvas", "canvas_logs": "dataset-canvaslogs"} | {
    "catalog": "dataset-catalog"
}
_MASKS = {Mask.HASH: "hashed", Mask.NULL: "made empty"}

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
        "documentation": documentation_of(table.name),
        **_columns_of(table, settings),
    }


def view_metadata(table: CatalogueTable, settings: Settings) -> Metadata:
    """Describe a table's view in DuckDB, before it is registered."""
    return {
        "dagster/table_name": str(table.name),
        "dagster/uri": settings.warehouse_file.as_uri(),
        "source": source_of(settings),
        "sample_sql": sample_sql(table.name),
        "documentation": documentation_of(table.name),
        **_columns_of(table, settings),
    }


def documentation_of(name: TableName) -> MetadataValue:
    """Link Instructure's page about the table; for an unknown namespace, the page of all."""
    page = _PAGES.get(name.namespace)
    return MetadataValue.url(f"{_DOCUMENTATION}/{page}#{name.table}" if page else _DOCUMENTATION)


def load_metadata(result: LoadResult) -> Metadata:
    """Describe what a load did and what is published after it."""
    table = result.table
    known: Metadata = {
        **published_metadata(table),
        "outcome": result.outcome.value,
        "kind": table.load.kind.value,
        "mode": result.mode.value,
        "until": MetadataValue.timestamp(table.watermark),
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
    if result.counts is not None:
        known |= {
            "rows_inserted": result.counts.inserted,
            "rows_updated": result.counts.updated,
            "rows_deleted": result.counts.deleted,
            "rows_unchanged": result.counts.unchanged,
        }
    if table.load.since is not None:
        known["since"] = MetadataValue.timestamp(table.load.since)
    if result.schema_changes:
        known["schema_changes"] = schema_changes_table(result.schema_changes)
    if result.reason:
        known["reason"] = result.reason
    if result.gap is not None:
        known["gap"] = str(result.gap)
    return known


def schema_changes_table(changes: Sequence[ShapeChange]) -> MetadataValue:
    """Draw what about the columns changed, from which schema version to which."""
    rows = [
        f"| {_cell(c.column)} | {c.what.value} | {_cell(c.before)} | {_cell(c.after)} |"
        f" {c.from_version} → {c.to_version} |"
        for c in changes
    ]
    head = ["| column | what | before | after | schema version |", "|---|---|---|---|---|"]
    return MetadataValue.md("\n".join([*head, *rows]))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def published_metadata(table: PublishedTable) -> Metadata:
    """Describe the current version of a table."""
    masked = masked_columns(table.shape)
    return {
        "dagster/row_count": table.rows,
        "dagster/size_bytes": table.bytes,
        "dagster/column_schema": column_schema(table.name, table.shape),
        "as_of": MetadataValue.timestamp(table.watermark),
        "checked_at": MetadataValue.timestamp(table.checked_at),
        "columns": len(table.shape.columns),
        "files": len(table.files),
        "masked_columns": len(masked),
        **({"masked": ", ".join(masked)} if masked else {}),
    }


def masked_columns(shape: TableShape) -> list[str]:
    """Name the columns that the settings mask, and how: ``name (made empty)``."""
    told = [f"{c.name} ({_MASKS[c.masked]})" for c in shape.columns if c.masked is not None]
    return [*told, *(f"{column.name} (dropped)" for column in shape.dropped)]


def registration_metadata(table: PublishedTable, file: Path, seconds: float) -> Metadata:
    """Describe a table's view after a build of the warehouse."""
    return {
        **published_metadata(table),
        "dagster/column_lineage": column_lineage(table),
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


def column_lineage(table: PublishedTable) -> MetadataValue:
    """Tell from which column of the Parquet table each column of the view comes."""
    key = table_key(table.name)
    return MetadataValue.column_lineage(
        dg.TableColumnLineage(
            {
                column.name: [dg.TableColumnDep(asset_key=key, column_name=column.name)]
                for column in table.shape.columns
            }
        )
    )


def column_schema(name: TableName, shape: TableShape) -> TableSchema:
    """Describe the columns as Dagster's own metadata."""
    alone = len(shape.key) == 1
    targets = targets_of(name)
    return TableSchema(
        columns=[_column(column, alone, targets.get(column.name, ())) for column in shape.columns],
        constraints=dg.TableConstraints(other=[f"key: {', '.join(shape.key)}"]),
    )


def _column(column: Column, key_alone: bool, targets: Sequence[Target]) -> dg.TableColumn:
    is_key = column.section is Section.KEY
    # The UI reads descriptions as markdown: two underscores would make a word bold.
    members = ", ".join(str(member).replace("__", r"\_\_") for member in column.members)
    values = f"One of: {members}." if members else ""
    refers = [f"refers to {target.table}.{target.column}" for target in targets]
    return dg.TableColumn(
        name=column.name,
        type=column.duckdb_type,
        description=" ".join(text for text in (column.description, values) if text) or None,
        constraints=dg.TableColumnConstraints(
            nullable=not column.required,
            unique=is_key and key_alone,
            other=[*(["key"] if is_key else []), *refers],
        ),
        tags={} if column.masked is None else {MASKED_TAG: column.masked.value},
    )


def _shape_of(table: CatalogueTable) -> TableShape | None:
    # A schema that cannot be read is told when the table is loaded; it must not take the
    # definitions of all other tables along.
    try:
        return shape_of(table.schema)
    except MisfitError:
        return None


def _columns_of(table: CatalogueTable, settings: Settings) -> Metadata:
    shape = _shape_of(table)
    if shape is None:
        return {}
    shape = _masking(settings.mask, settings.mask_people).shown(table.name, shape)
    return {"dagster/column_schema": column_schema(table.name, shape)}


@lru_cache(maxsize=4)
def _masking(rules: str, people: bool) -> Masking:
    return Masking.of(rules, people=people)
