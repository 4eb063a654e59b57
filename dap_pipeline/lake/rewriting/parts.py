"""What the readers of both formats tell about the parts of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.coltypes import ColumnType, Kind
from dap_pipeline.lake.columns import Column, Mask, Section, TableShape
from dap_pipeline.lake.hashing import hashed
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.casting import Caster
from dap_pipeline.lake.rewriting.physical import Found
from dap_pipeline.lake.sql import identifier


@dataclass(frozen=True)
class Parts:
    """Parts of one form: how to read them, and where each column stands in them."""

    paths: tuple[Path, ...]
    relation: Callable[[Sequence[Path]], str]
    """Writes the SQL relation over some of the paths."""
    found: Mapping[str, Found]
    """Where the columns stand; those that the parts lack are not in it."""

    def select(self, shape: TableShape) -> str:
        """Write the query that gives the rows of all the parts in the shape of the table."""
        values = ", ".join(f"{self._value(c)} AS {identifier(c.name)}" for c in shape.columns)
        return f"SELECT {values} FROM {self.relation(self.paths)}"

    def _value(self, column: Column) -> str:
        found = self.found.get(column.name)
        if found is None or column.masked is Mask.NULL:
            return f"CAST(NULL AS {column.duckdb_type})"
        try:
            cast = Caster().cast(found, column.read_type)
        except MisfitError as error:
            raise misfit(self.paths[0], column, error.what) from None
        typed = f"CAST({cast} AS {column.read_type.duckdb})"
        return hashed(_text_of(typed, column.read_type)) if column.masked is Mask.HASH else typed


def _text_of(value: str, kind: ColumnType) -> str:
    """Write the text that is hashed: of a number its digits, of a struct or list its JSON."""
    nested = kind.kind in (Kind.STRUCT, Kind.LIST)
    return f"CAST({f'to_json({value})' if nested else value} AS VARCHAR)"


def misfit(part: Path, column: Column | str, what: str, row: int | None = None) -> MisfitError:
    """Name the part, the row and the column of a misfit, but never its value."""
    name = column if isinstance(column, str) else f"{column.section}.{column.source}"
    place = f"{part.name}, row {row}" if row is not None else part.name
    return MisfitError(f"{place}: {name} {what}")


def may_not_be_missing(column: Column, kind: LoadKind) -> bool:
    """Tell whether every part must have the column.

    A part of an increment may hold nothing but deletions, which have no value.
    """
    return column.required and (kind is LoadKind.SNAPSHOT or column.section is not Section.VALUE)
