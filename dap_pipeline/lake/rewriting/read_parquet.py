"""Reads Parquet parts: structs ``key``, ``value`` and ``meta``, as Spark writes them.

Columns with dotted names (``value.name``) are taken as well. Timestamps may be INT96, INT64 of any
unit, or texts; of an INT96, DuckDB reads the microseconds, which is all that Spark writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.coltypes import Kind
from dap_pipeline.lake.columns import Column, Section, TableShape
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.parts import Parts, misfit
from dap_pipeline.lake.rewriting.physical import Found, Physical, PhysicalMember
from dap_pipeline.lake.sql import identifier, literals

_SECTIONS = {section.value for section in Section}


def parquet_parts(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[Path],
    shape: TableShape,
    kind: LoadKind,
) -> list[Parts]:
    """Group the parts by their columns, and find the columns of the table in each group.

    Raises:
        MisfitError: a part is not Parquet, lacks a column or has an unknown one.
    """
    groups: dict[tuple[PhysicalMember, ...], list[Path]] = {}
    for path in paths:
        groups.setdefault(_columns_of(connection, path), []).append(path)
    return [
        Parts(tuple(group), _relation, _find(columns, shape, group[0], kind))
        for columns, group in groups.items()
    ]


def count_rows(paths: Sequence[Path]) -> int:
    """Add up the rows that the footers tell."""
    return sum(_footer(path).num_rows for path in paths)


def _footer(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise MisfitError(f"{path.name} is not a Parquet file") from None


def _relation(paths: Sequence[Path]) -> str:
    files = literals([str(path) for path in paths])
    return f"read_parquet({files}, hive_partitioning = false, union_by_name = false)"


def _columns_of(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[PhysicalMember, ...]:
    """Read names and types: DuckDB's types, and the names as they stand in the file."""
    schema = _footer(path).schema.to_arrow_schema()
    try:
        described = connection.execute(f"SELECT * FROM {_relation([path])} LIMIT 0").description
    except duckdb.Error as error:
        if isinstance(error, duckdb.IOException):
            raise
        raise MisfitError(f"{path.name} has columns that cannot be read") from None
    return tuple(
        PhysicalMember(field.name, name, _physical(kind, field.type, path))
        for field, (name, kind, *_) in zip(schema, described or (), strict=True)
    )


def _physical(duck: Any, arrow: pa.DataType, path: Path) -> Physical:
    # `duck` is a DuckDBPyType, whose children are untyped: for a struct, pairs of name and type.
    if isinstance(arrow, pa.StructType):
        members = zip(arrow, duck.children, strict=True)
        return Physical(
            "STRUCT",
            tuple(
                PhysicalMember(field.name, name, _physical(child, field.type, path))
                for field, (name, child) in members
            ),
        )
    if isinstance(arrow, pa.ListType):
        return Physical("LIST", item=_physical(duck.children[0][1], arrow.value_type, path))
    if isinstance(arrow, pa.MapType):
        return Physical("MAP")
    if pa.types.is_decimal256(arrow):
        raise MisfitError(f"{path.name} holds decimals of more than 38 digits")
    # A text that is marked as JSON is a text all the same.
    return Physical("VARCHAR" if str(duck) == "JSON" else str(duck))


def _find(
    columns: Sequence[PhysicalMember], shape: TableShape, part: Path, kind: LoadKind
) -> dict[str, Found]:
    there = dict(_fields(columns))
    has_values = any(section == Section.VALUE for section, _ in there)
    found: dict[str, Found] = {}
    for column in shape.columns:
        place = (column.section.value, column.source)
        field = there.pop(place, None) or _from_dotted(column, there)
        if field is not None:
            found[column.name] = field
        elif has_values or column.section is not Section.VALUE or kind is LoadKind.SNAPSHOT:
            # Spark writes all columns of the schema, or no values at all for deletions only.
            raise misfit(part, column, f"is {'required and ' if column.required else ''}not there")
    if there:
        raise misfit(part, ".".join(next(iter(there))), "is not in the table's schema")
    return found


def _fields(columns: Sequence[PhysicalMember]) -> Iterator[tuple[tuple[str, str], Found]]:
    """Name every field by its section and its name there."""
    for column in columns:
        section, dot, name = column.name.partition(".")
        sql = identifier(column.duckdb_name)
        if not dot and section in _SECTIONS and column.type.name == "STRUCT":
            for member in column.type.members:
                yield (section, member.name), Found(member.of(sql), member.type)
        else:
            yield (section, name), Found(sql, column.type)


def _from_dotted(column: Column, there: dict[tuple[str, str], Found]) -> Found | None:
    """Gather an object whose members are columns of their own: ``value.settings.color``."""
    if column.kind is not Kind.STRUCT:
        return None
    prefix = f"{column.source}."
    names = [n for s, n in there if s == column.section.value and n.startswith(prefix)]
    if not names:
        return None
    fields = {name.removeprefix(prefix): there.pop((column.section.value, name)) for name in names}
    packed = ", ".join(f"{identifier(name)} := {field.sql}" for name, field in fields.items())
    members = (PhysicalMember(name, name, field.type) for name, field in fields.items())
    return Found(f"struct_pack({packed})", Physical("STRUCT", tuple(members)))
