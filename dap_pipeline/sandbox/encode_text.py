"""TSV, CSV and JSON Lines: DuckDB writes the lines, this module packs them into gzip parts."""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from pathlib import Path

import pyarrow as pa

from . import expressions
from .dialect import Field, FieldType, Kind, quoted
from .expressions import column, instant, json_members, member
from .queries import Mode
from .selections import Selection

# Speed counts more here than size: level 1 takes a third of the time of level 6.
_GZIP_LEVEL = 1
_ACTION = FieldType(Kind.TEXT, "VARCHAR")


class TextEncoding(ABC):
    """One text format for one selection: the SELECT that gives the lines, and the part files."""

    suffix: str
    media_type: str

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.fields = selection.table.fields

    @abstractmethod
    def _line(self) -> str:
        """Write the SQL expression of one line, without its end."""

    def _header(self) -> bytes:
        """Give the first line of every part."""
        return b""

    def query(self) -> str:
        """Write the SELECT of the lines, each with its line end."""
        return self.selection.sql([f"{self._line()} || chr(10) AS line"])

    def open_part(self, path: Path, schema: pa.Schema) -> TextPart:  # noqa: ARG002
        """Start a part file."""
        return TextPart(path, self._header())


class TextPart:
    """A part being written: one gzip member, the same bytes for the same lines."""

    def __init__(self, path: Path, header: bytes) -> None:
        self._file = path.open("wb")
        self._gzip = gzip.GzipFile("", "wb", _GZIP_LEVEL, self._file, mtime=0)
        self._gzip.write(header)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the lines of a batch."""
        lines = batch.column(0).cast(pa.large_binary())
        _, offsets, content = lines.buffers()
        if offsets is not None and content is not None:
            # The lines lie end to end in Arrow's buffer, so they need no joining.
            starts = memoryview(offsets).cast("q")
            first, last = starts[lines.offset], starts[lines.offset + len(lines)]
            self._gzip.write(memoryview(content)[first:last])

    def close(self) -> None:
        """Finish the file."""
        self._gzip.close()
        self._file.close()


class _Tabular(TextEncoding):
    """What TSV and CSV share: a header, and nested objects as columns or as one JSON column."""

    separator: str

    def __init__(self, selection: Selection, mode: Mode) -> None:
        super().__init__(selection)
        self._mode = mode

    @abstractmethod
    def _field(self, expression: str, kind: FieldType) -> str:
        """Write one field, never NULL."""

    def _header(self) -> bytes:
        return (self.separator.join(name for name, _ in self._columns()) + "\n").encode()

    def _line(self) -> str:
        written = ", ".join(expression for _, expression in self._columns())
        return f"concat_ws(chr({ord(self.separator)}), {written})"

    def _columns(self) -> list[tuple[str, str]]:
        """Name every column with its SQL; key, value and meta in the order seen in real files."""
        columns = []
        for field in self.fields.key:
            columns += self._expanded(f"key.{field.name}", column(field), field.type)
        for field in self.fields.value:
            columns += self._value(field)
        columns.append(("meta.ts", instant("meta_ts")))
        if self.selection.incremental:
            columns.append(("meta.action", "meta_action"))
        return columns

    def _value(self, field: Field) -> list[tuple[str, str]]:
        name = f"value.{field.name}"
        if field.type.kind is Kind.STRUCT and self._mode is Mode.CONDENSED:
            text = expressions.condensed(column(field), field.type)
            return [(name, self._field(text, _ACTION))]
        return self._expanded(name, column(field), field.type)

    def _expanded(self, name: str, expression: str, kind: FieldType) -> list[tuple[str, str]]:
        if kind.kind is not Kind.STRUCT:
            return [(name, self._field(expression, kind))]
        columns = []
        for each in kind.fields:
            inner = member(expression, each.name)
            columns += self._expanded(f"{name}.{each.name}", inner, each.type)
        return columns


class TsvEncoding(_Tabular):
    """PostgreSQL's COPY text format with a header."""

    suffix = ".tsv.gz"
    media_type = "text/plain"
    separator = "\t"

    def _field(self, expression: str, kind: FieldType) -> str:
        return f"coalesce({expressions.tsv(expression, kind)}, '\\N')"


class CsvEncoding(_Tabular):
    """RFC 4180 with a header; NULL is nothing between the commas, an empty text is `""`."""

    suffix = ".csv.gz"
    media_type = "text/csv"
    separator = ","

    def _field(self, expression: str, kind: FieldType) -> str:
        return f"coalesce({expressions.csv(expression, kind)}, '')"


class JsonLinesEncoding(TextEncoding):
    """One JSON object per line with `key`, `value` (not for a deleted row) and `meta`."""

    suffix = ".json.gz"
    media_type = "application/jsonlines"

    def _line(self) -> str:
        key = json_members(tuple((f.name, column(f), f.type) for f in self.fields.key))
        value = json_members(tuple((f.name, column(f), f.type) for f in self.fields.value))
        timestamp = f"""'"ts":"' || {instant("meta_ts")} || '"'"""
        action = """ || ',"action":"' || meta_action || '"'""" if self.selection.incremental else ""
        return (
            f"""'{{"key":{{' || {key} || '}}'"""
            f""" || CASE WHEN {quoted("meta_action")} = 'D' THEN ''"""
            f""" ELSE ',"value":{{' || {value} || '}}' END"""
            f""" || ',"meta":{{' || {timestamp}{action} || '}}}}'"""
        )
