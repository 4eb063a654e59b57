"""Makes parts of canvas.submissions as DAP gives them: Parquet by Spark, or gzip JSON Lines.

Every value of the first part is drawn from a hash of its row and column; the other parts have the
same values under other keys, which is done sooner.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from dap_pipeline.dap.models import VersionedSchema
from dap_pipeline.lake.coltypes import Kind
from dap_pipeline.lake.columns import Column, Section, TableShape, shape_of
from dap_pipeline.lake.sql import identifier, literal
from dap_pipeline.settings import SourceFormat

TABLE = "canvas.submissions"
_WORDS = (
    "essay draft review answer source method result figure table chapter question reading "
    "lecture seminar group project deadline feedback grade rubric outcome module lesson "
    "quiz discussion the a of and to in is that for with as on are this by from or which "
    "can be we not"
)
_NULLS_PER_HUNDRED = 40
_BODY_WORDS = 60
_ROW_GROUP = 135_000
_LINES = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', COMPRESSION gzip"


def schema() -> VersionedSchema:
    """Read the schema of the table from the shipped catalogue."""
    namespace, table = TABLE.split(".")
    file = resources.files("dap_pipeline.schemas") / namespace / f"{table}.json"
    return VersionedSchema.model_validate(json.loads(file.read_text()))


def shape() -> TableShape:
    """Give the columns of the table."""
    return shape_of(schema())


def make_parts(
    folder: Path, source: SourceFormat, *, parts: int, rows: int, checksums: bool = True
) -> list[Path]:
    """Write so many parts of so many rows each; the keys are unique over all parts.

    Parquet has the checksum of each page, as Spark writes it, unless told otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "parquet" if source is SourceFormat.PARQUET else "jsonl.gz"
    written = [folder / f"part-{number:05d}.{suffix}" for number in range(parts)]
    drawn = f"({_drawn(shape(), rows)})"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET preserve_insertion_order = false")
        if source is SourceFormat.PARQUET:
            connection.execute(f"CREATE TABLE columns AS {_columns(shape(), drawn)}")
            for number, part in enumerate(written):
                _write(connection, _columns_again(number * rows), part, checksums)
        else:
            connection.execute(
                f"CREATE TABLE lines AS SELECT {_line(shape())} AS line FROM {drawn}"
            )
            for number, part in enumerate(written):
                copy = f"COPY ({_lines_again(number * rows)}) TO {literal(str(part))} ({_LINES})"
                connection.execute(copy).fetchall()
    return written


def _write(connection: duckdb.DuckDBPyConnection, query: str, part: Path, checksums: bool) -> None:
    batches = connection.execute(query).to_arrow_reader(_ROW_GROUP)
    with pq.ParquetWriter(
        part, batches.schema, compression="snappy", write_page_checksum=checksums
    ) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _columns_again(further: int) -> str:
    key = f"struct_pack(id := key.id + {further}) AS key"
    return f"SELECT {key}, value, meta FROM columns"


def _lines_again(further: int) -> str:
    # The keys have twelve digits, behind `{"key":{"id":`.
    key = f"CAST(substr(line, 14, 12) AS BIGINT) + {further}"
    return f"SELECT substr(line, 1, 13) || ({key}) || substr(line, 26) FROM lines"


def _drawn(table: TableShape, rows: int) -> str:
    columns = ", ".join(
        f"{_value(column, place)} AS {identifier(column.name)}"
        for place, column in enumerate(table.columns)
    )
    return f"SELECT {columns} FROM range({rows}) AS numbers(i)"


def _value(column: Column, place: int) -> str:
    chance = f"CAST(hash(i, {place}) >> 8 AS BIGINT)"
    value = _of_kind(column, chance, place)
    if column.section is Section.KEY:
        return "100000000000 + i"
    if column.required:
        return value
    return f"CASE WHEN {chance} % 100 >= {_NULLS_PER_HUNDRED} THEN {value} END"


def _of_kind(column: Column, chance: str, place: int) -> str:
    if column.members:
        return _one_of([str(member) for member in column.members], chance)
    match column.kind:
        case Kind.INTEGER:
            most = 20 if column.duckdb_type == "INTEGER" else 10_000_000
            return f"CAST({chance} // 128 % {most} AS {column.duckdb_type})"
        case Kind.FLOAT:
            return f"({chance} // 128 % 200) / 2"
        case Kind.DECIMAL:
            return f"CAST(({chance} // 128 % 1000) / 100 AS {column.duckdb_type})"
        case Kind.BOOLEAN:
            return f"({chance} // 128 % 2 = 0)"
        case Kind.INSTANT:
            return f"make_timestamptz(1600000000000000 + {chance} // 128 % 100000000000 * 1000)"
        case Kind.UUID:
            return f"CAST(md5(CAST({chance} AS VARCHAR)) AS UUID)::VARCHAR"
    if column.name == "body":
        word = _one_of(_WORDS.split(), f"CAST(hash(i, x, {place}) >> 8 AS BIGINT)")
        words = f"array_to_string(list_transform(range({_BODY_WORDS}), lambda x: {word}), ' ')"
        return f"'<p>' || {words} || '</p>'"
    return f"{_one_of(_WORDS.split(), chance)} || ({chance} // 128 % 1000)"


def _one_of(texts: list[str], chance: str) -> str:
    choices = ", ".join(literal(text) for text in texts)
    return f"list_extract([{choices}], 1 + {chance} // 128 % {len(texts)})"


def _columns(table: TableShape, drawn: str) -> str:
    sections = (
        f"struct_pack({_packed(table, section)}) AS {identifier(section.value)}"
        for section in Section
    )
    return f"SELECT {', '.join(sections)} FROM {drawn}"


def _packed(table: TableShape, section: Section) -> str:
    return ", ".join(
        f"{identifier(column.source)} := {identifier(column.name)}"
        for column in table.columns
        if column.section is section
    )


def _line(table: TableShape) -> str:
    sections = (
        f"""'"{section}":{{' || {_properties(table, section)} || '}}'""" for section in Section
    )
    return f"'{{' || {' || chr(44) || '.join(sections)} || '}}'"


def _properties(table: TableShape, section: Section) -> str:
    # NULLs are passed over by concat_ws, as DAP leaves them out.
    return (
        "concat_ws(',', "
        + ", ".join(
            f"{literal(json.dumps(column.source) + ':')} || {_json(column)}"
            for column in table.columns
            if column.section is section
        )
        + ")"
    )


def _json(column: Column) -> str:
    name = identifier(column.name)
    if column.kind is Kind.INSTANT:
        return f"""strftime({name}, '"%Y-%m-%dT%H:%M:%S.%gZ"')"""
    return f"CAST(to_json({name}) AS VARCHAR)"
