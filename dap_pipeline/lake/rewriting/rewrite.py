"""Writes the parts of a job as one tidy Parquet file.

Columns and types come from the shape of the table, not from the parts. Every value arrives or the
whole rewrite fails: rows and cells are counted on both sides. A struct without any member that is
not null is NULL, in both formats, because JSONL cannot tell the two apart.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import duckdb

from dap_pipeline.errors import DapPipelineError, LakeError, MisfitError
from dap_pipeline.lake.coltypes import Kind
from dap_pipeline.lake.columns import META_ACTION, Column, Mask, TableShape
from dap_pipeline.lake.duck import (
    PACKED,
    RewriteOptions,
    beside,
    connect,
    fetch,
    not_of_the_data,
)
from dap_pipeline.lake.folders import storage_errors
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.counting import (
    Tally,
    has_unknown_properties,
    nested_cells,
    tally,
)
from dap_pipeline.lake.rewriting.exact_numbers import has_wide_decimals, with_exact_numbers
from dap_pipeline.lake.rewriting.inspecting import inspect_lines
from dap_pipeline.lake.rewriting.locating import locate
from dap_pipeline.lake.rewriting.parts import Parts, may_not_be_missing, misfit
from dap_pipeline.lake.rewriting.read_jsonl import jsonl_parts, lines_of
from dap_pipeline.lake.rewriting.read_parquet import count_rows, parquet_parts
from dap_pipeline.lake.rewriting.unpacking import Texts, unpack
from dap_pipeline.lake.sql import identifier, literal
from dap_pipeline.lake.verify import Footer, verified_footer
from dap_pipeline.settings import SourceFormat

__all__ = ["KeyValue", "RewriteOptions", "WrittenFile", "rewrite"]

KeyValue = int | str

# A longer text is no use as a bound, and cut it would be a wrong one.
_LONGEST_BOUND = 64


@dataclasses.dataclass(frozen=True)
class WrittenFile:
    """A tidy Parquet file, and what its Delta statistics need."""

    path: Path
    rows: int
    bytes: int
    key_min: Mapping[str, KeyValue]
    """Smallest value of each key column that is a number or a short text."""
    key_max: Mapping[str, KeyValue]


def rewrite(
    parts: Sequence[Path],
    shape: TableShape,
    *,
    source: SourceFormat,
    kind: LoadKind,
    target: Path,
    options: RewriteOptions,
) -> WrittenFile:
    """Write the parts as one Parquet file of the given shape; no parts make an empty file.

    For an increment, ``meta_action`` is added to the shape.

    Raises:
        MisfitError: a part, column, row or value does not fit the shape.
        StorageError: the disk is full or may not be written.
        LakeError: the memory does not suffice.
    """
    if kind is LoadKind.INCREMENTAL and META_ACTION not in shape.columns:
        shape = shape.with_action()
    with (
        storage_errors(f"write {target}"),
        connect(options) as connection,
        tempfile.TemporaryDirectory(dir=options.temp_dir) as work_folder,
    ):
        work = _Rewriting(
            list(parts), shape, source, kind, target, Path(work_folder), options.threads
        )
        try:
            return work.run(connection)
        except duckdb.Error as error:
            raise work.explain(connection, error) from None
        except BaseException:
            target.unlink(missing_ok=True)
            raise


@dataclasses.dataclass
class _Rewriting:
    """One call of ``rewrite``: what it was given, and how far it has come."""

    parts: list[Path]
    shape: TableShape
    source: SourceFormat
    kind: LoadKind
    target: Path
    work_folder: Path
    threads: int
    texts: Texts = Texts()  # noqa: RUF009  # it is frozen
    """The unpacked parts, if they are JSONL."""
    groups: list[Parts] = dataclasses.field(default_factory=list)

    def run(self, connection: duckdb.DuckDBPyConnection) -> WrittenFile:
        if self.source is SourceFormat.PARQUET:
            self.groups = parquet_parts(connection, self.parts, self._fields, self.kind)
            rows = self._copy(connection)
            counted = None
        else:
            self.texts = self._unpacked()
            self.groups = jsonl_parts(self.texts, self._fields)
            rows, counted = self._copied_and_counted(connection)
        footer = verified_footer(self.target, self.shape)
        if footer.rows != rows:
            raise LakeError(f"{rows} rows were written, but {footer.rows} are in the file")
        self._check_counts(connection, footer, counted)
        self._check_required(connection, footer)
        return self._described(connection, footer)

    def _copied_and_counted(self, connection: duckdb.DuckDBPyConnection) -> tuple[int, Tally]:
        """Write the rows and count the properties at once: each leaves a thread idle at its end."""
        with ThreadPoolExecutor(1) as pool:
            counting = pool.submit(self._tally_beside, connection)
            try:
                return self._copy(connection), counting.result()
            except duckdb.OutOfMemoryException:
                # Lines of megabytes: each of the two needs the memory for itself.
                wait([counting])
                return self._copy(connection), self._tally(connection)

    def _tally_beside(self, connection: duckdb.DuckDBPyConnection) -> Tally:
        with beside(connection) as another:
            return self._tally(another)

    def _tally(self, connection: duckdb.DuckDBPyConnection) -> Tally:
        if not self.texts.paths:
            return Tally(0, 0, 0)
        return tally(connection, lines_of(self.texts), self.shape)

    def _unpacked(self) -> Texts:
        if has_wide_decimals(self._fields):
            texts = with_exact_numbers(self.parts, self._fields, self.work_folder)
            return Texts(tuple(texts))
        return unpack(self.parts, self.work_folder, self.threads)

    def _copy(self, connection: duckdb.DuckDBPyConnection) -> int:
        # DuckDB writes into the file that is there, which only its owner can read.
        os.close(os.open(self.target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        selects = [group.select(self.shape) for group in self.groups]
        query = " UNION ALL ".join(selects) or Parts((), _nowhere, {}).select(self.shape)
        try:
            return self._write(connection, query, "16MB")
        except duckdb.OutOfMemoryException:
            # Rows of very long texts: one thread and small row groups take the least memory.
            connection.execute("SET threads = 1")
            return self._write(connection, query, "2MB")

    def _write(self, connection: duckdb.DuckDBPyConnection, query: str, row_group: str) -> int:
        options = (
            f"FORMAT parquet, {PACKED}, USE_TMP_FILE false,"
            f" ROW_GROUP_SIZE_BYTES {literal(row_group)}"
        )
        copy = f"COPY ({query}) TO {literal(str(self.target))} ({options})"
        return int(fetch(connection, copy)[0][0])

    def _check_required(self, connection: duckdb.DuckDBPyConnection, footer: Footer) -> None:
        for column in self.shape.columns:
            if (
                column.required
                and footer.nulls.get(column.name)
                and self._lacks(connection, column)
            ):
                found = locate(connection, self.groups, self._cast, self.kind)
                raise found or misfit(self.parts[0], column, "is required and not there")

    def _lacks(self, connection: duckdb.DuckDBPyConnection, column: Column) -> bool:
        if may_not_be_missing(column, self.kind):
            return True
        # The value of a deletion is not there.
        live = f"{identifier(META_ACTION.name)} <> 'D' AND {identifier(column.name)} IS NULL"
        return bool(fetch(connection, f"SELECT count(*) FROM {self._written} WHERE {live}")[0][0])

    def _check_counts(
        self, connection: duckdb.DuckDBPyConnection, footer: Footer, counted: Tally | None
    ) -> None:
        rows = count_rows(self.parts) if counted is None else counted.rows
        if counted is not None:
            self._check_properties(connection, footer, counted)
        if rows != footer.rows:
            raise MisfitError(f"the parts have {rows} rows, but {footer.rows} were written")

    def _check_properties(
        self, connection: duckdb.DuckDBPyConnection, footer: Footer, counted: Tally
    ) -> None:
        if counted.strange == 0 and counted.cells == self._cells(connection, footer):
            return
        if has_unknown_properties(connection, lines_of(self.texts), self._fields):
            for part in self.parts:
                inspect_lines(part, self._fields)
            raise MisfitError("the parts have a property that is not in the table's schema")

    def _cells(self, connection: duckdb.DuckDBPyConnection, footer: Footer) -> int:
        """Count the cells that are not null in the file."""
        cells = sum(footer.rows - nulls for nulls in footer.nulls.values())
        nested = nested_cells(self.shape)
        if nested:
            cells += sum(fetch(connection, f"SELECT {', '.join(nested)} FROM {self._written}")[0])
        return cells

    def _described(self, connection: duckdb.DuckDBPyConnection, footer: Footer) -> WrittenFile:
        bounds: dict[str, tuple[KeyValue, KeyValue]] = {}
        for name in self.shape.key:
            column = self.shape.column(name)
            if footer.rows and (column.kind is Kind.INTEGER or column.duckdb_type == "VARCHAR"):
                key = identifier(name)
                query = f"SELECT min({key}), max({key}) FROM {self._written}"
                low, high = fetch(connection, query)[0]
                if all(isinstance(b, int) or len(b) <= _LONGEST_BOUND for b in (low, high)):
                    bounds[name] = (low, high)
        return WrittenFile(
            path=self.target,
            rows=footer.rows,
            bytes=self.target.stat().st_size,
            key_min={name: low for name, (low, _) in bounds.items()},
            key_max={name: high for name, (_, high) in bounds.items()},
        )

    @property
    def _fields(self) -> TableShape:
        """The shape as the parts have it."""
        return self.shape.in_parts()

    @property
    def _cast(self) -> TableShape:
        """The columns whose values are read, and so can be misfits."""
        unread = {c.name for c in self.shape.columns if c.masked is Mask.NULL}
        unread |= {c.name for c in self.shape.dropped}
        kept = tuple(c for c in self._fields.columns if c.name not in unread)
        return dataclasses.replace(self._fields, columns=kept)

    @property
    def _written(self) -> str:
        return f"read_parquet({literal(str(self.target))}, hive_partitioning = false)"

    def explain(
        self, connection: duckdb.DuckDBPyConnection, error: duckdb.Error
    ) -> DapPipelineError:
        """Say what was wrong, without DuckDB's own text: it repeats values."""
        self.target.unlink(missing_ok=True)
        known = not_of_the_data(error, f"rewrite into {self.target.name}")
        if known is not None:
            return known
        try:
            if self.source is SourceFormat.JSONL:
                for part in self.parts:
                    inspect_lines(part, self._fields)
            found = locate(connection, self.groups, self._cast, self.kind)
        except MisfitError as misfit_error:
            return misfit_error
        except duckdb.Error:
            found = None
        return found or MisfitError(
            f"the parts cannot be read ({type(error).__name__}), first {self.parts[0].name}"
        )


def _nowhere(_: Sequence[Path]) -> str:
    return "range(0)"
