"""Reads tidy files of several schema versions as rows of one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from dap_pipeline.errors import LakeError, MisfitError
from dap_pipeline.lake.columns import Column
from dap_pipeline.lake.rewriting.casting import Caster
from dap_pipeline.lake.rewriting.physical import Found, Physical, PhysicalMember
from dap_pipeline.lake.sql import identifier, literal, literals
from dap_pipeline.lake.verify import arrow_type, without_nullability

NUMBER, ROW = "file_index", "file_row_number"
"""What DuckDB calls the place of a file in its list, and of a row in its file."""

_SCALARS = {
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.string(): "VARCHAR",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
    pa.date32(): "DATE",
}


@dataclass(frozen=True)
class Source:
    """Tidy files of one schema; the first of them has the number ``first``."""

    paths: tuple[Path, ...]
    first: int
    types: Mapping[str, pa.DataType]

    @property
    def relation(self) -> str:
        """The SQL relation over the files."""
        return f"read_parquet({literals([str(p) for p in self.paths])}, hive_partitioning = false)"

    @property
    def number(self) -> str:
        """The SQL of the number of the file that a row stands in."""
        return f"({self.first} + {NUMBER})::INTEGER"

    def values(self, columns: Sequence[Column]) -> str:
        """Write the SQL of columns: cast to their types, NULL where the files lack them."""
        return ", ".join(f"{self.value(c)} AS {identifier(c.name)}" for c in columns)

    def value(self, column: Column) -> str:
        """Write the SQL of one column."""
        name = identifier(column.name)
        there = self.types.get(column.name)
        if there is None:
            return f"CAST(NULL AS {column.duckdb_type})"
        if there == arrow_type(column.type):
            return name
        try:
            cast = Caster().cast(Found(name, _physical(there)), column.type)
        except MisfitError as error:
            raise LakeError(
                f"{self.paths[0].name}: column {column.name} {error.what}",
                advice="Take a snapshot of the table.",
            ) from None
        return f"CAST({cast} AS {column.duckdb_type})"


def sources(paths: Sequence[Path]) -> tuple[list[Source], list[int]]:
    """Group files by their schemas; also give, for each number, the place in ``paths``."""
    groups: dict[tuple[tuple[str, pa.DataType], ...], list[int]] = {}
    for place, path in enumerate(paths):
        groups.setdefault(_types_of(path), []).append(place)
    found: list[Source] = []
    order: list[int] = []
    for types, places in groups.items():
        found.append(Source(tuple(paths[p] for p in places), len(order), dict(types)))
        order += places
    return found, order


def source(path: Path) -> Source:
    """Read the schema of one file."""
    return Source((path,), 0, dict(_types_of(path)))


def make_table(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    columns: str,
    rows: Sequence[tuple[int | str, ...]],
) -> None:
    """Make a table of a few rows; one statement is many times faster than one for each row."""
    connection.execute(f"CREATE OR REPLACE TABLE {name} ({columns})")
    if rows:
        values = ", ".join(f"({', '.join(map(_constant, row))})" for row in rows)
        connection.execute(f"INSERT INTO {name} VALUES {values}")


def _constant(value: int | str) -> str:
    return literal(value) if isinstance(value, str) else str(value)


def _types_of(path: Path) -> tuple[tuple[str, pa.DataType], ...]:
    try:
        schema = pq.read_schema(path)
    except pa.ArrowException as error:
        raise LakeError(f"{path.name} cannot be read: {error}") from error
    return tuple((field.name, without_nullability(field.type)) for field in schema)


def _physical(kind: pa.DataType) -> Physical:
    if isinstance(kind, pa.StructType):
        members = (PhysicalMember(f.name, f.name, _physical(f.type)) for f in kind)
        return Physical("STRUCT", tuple(members))
    if isinstance(kind, pa.ListType):
        return Physical("LIST", item=_physical(kind.value_type))
    if isinstance(kind, pa.Decimal128Type):
        return Physical(f"DECIMAL({kind.precision},{kind.scale})")
    return Physical(_SCALARS[kind])
