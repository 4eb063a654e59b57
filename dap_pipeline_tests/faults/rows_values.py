"""Tables whose parts do not fit their schema: faults for the lake, which alone reads values."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dap_pipeline.errors import MisfitError, SchemaUnavailableError
from dap_pipeline.sandbox.faults import ALWAYS, Fault
from dap_pipeline.sandbox.faults_answers import changed, changed_json
from dap_pipeline.sandbox.limits import Endpoint

from .outcomes import Outcome, TableFails
from .rows import LAKE, Chapter, Row, always

_JSONL = {"DAP_PIPELINE_SOURCE_FORMAT": "jsonl"}
_NAMED = "The table fails and names part, column and row; nothing of it is published."

ChangeLine = Callable[[dict[str, Any]], None]
ChangeTable = Callable[[pa.Table], pa.Table]


def _line_changed(change: ChangeLine, row: int = 3) -> Callable[[bytes], bytes]:
    """Change one line of a JSONL part."""

    def apply(body: bytes) -> bytes:
        lines = gzip.decompress(body).splitlines()
        line = json.loads(lines[row])
        change(line)
        lines[row] = json.dumps(line).encode()
        return gzip.compress(b"\n".join(lines) + b"\n")

    return apply


def _columns_changed(change: ChangeTable, section: str = "value") -> Callable[[bytes], bytes]:
    """Change the columns of a section of a Parquet part."""

    def apply(body: bytes) -> bytes:
        table = pq.read_table(io.BytesIO(body))
        values = pa.Table.from_struct_array(table[section])
        changed_values = change(values).to_struct_array().combine_chunks()
        position = table.column_names.index(section)
        written = io.BytesIO()
        pq.write_table(table.set_column(position, section, changed_values), written)
        return written.getvalue()

    return apply


def _row(
    fault: str,
    change: Callable[[bytes], bytes],
    *says: str,
    does: str = _NAMED,
    jsonl: bool = False,
    outcome: Outcome | None = None,
) -> Row:
    struck = Fault(changed(change, without=("etag",)), (Endpoint.OBJECT,), "users", ALWAYS, skip=1)
    return Row(
        f"{fault} ({'JSONL' if jsonl else 'Parquet'})",
        does,
        always(struck),
        outcome or TableFails(MisfitError, says),
        settings=_JSONL if jsonl else {},
        surfaces=(LAKE,),
    )


def _wrong_instant(line: dict[str, Any]) -> None:
    line["value"]["created_at"] = "soon"


def _text_for_the_key(line: dict[str, Any]) -> None:
    line["key"]["id"] = "seven"


def _unknown_column(line: dict[str, Any]) -> None:
    line["value"]["nickname"] = "Bo"


def _no_key(line: dict[str, Any]) -> None:
    del line["key"]


def _as_text(values: pa.Table) -> pa.Table:
    position = values.column_names.index("created_at")
    text = pa.chunked_array([["soon"] * values.num_rows])
    return values.set_column(position, "created_at", text)


def _more(values: pa.Table) -> pa.Table:
    return values.append_column("nickname", pa.array(["Bo"] * values.num_rows))


def _renamed(key: pa.Table) -> pa.Table:
    return key.rename_columns(["number"])


def _without_its_last(value: pa.Table) -> pa.Table:
    return value.drop_columns(value.column_names[-1:])


def _later_schema(answer: Any) -> Any:
    return {**answer, "version": answer["version"] + 1}


VALUES = Chapter(
    "Schemas and values",
    (
        Row(
            "the schema has changed between the job and the load",
            "The table fails rather than being read by another version than the job's.",
            always(Fault(changed_json(_later_schema), (Endpoint.SCHEMA,), "users", ALWAYS)),
            TableFails(SchemaUnavailableError, ("schema version 3", "version 4")),
            surfaces=(LAKE,),
        ),
        _row(
            "a value that does not fit its type",
            _line_changed(_wrong_instant),
            "created_at",
            "part-0000",
            "row 4",
            jsonl=True,
        ),
        _row(
            "a key of another type",
            _line_changed(_text_for_the_key),
            "id",
            "part-0000",
            "row 4",
            jsonl=True,
        ),
        _row(
            "a part with a column more",
            _line_changed(_unknown_column),
            "nickname",
            "part-0000",
            "row 4",
            jsonl=True,
        ),
        _row("a row without its key", _line_changed(_no_key), "id", "part-0000", jsonl=True),
        _row(
            "a line that is no JSON",
            lambda body: gzip.compress(b'{"key": {"id": 1'),
            "part-0000",
            jsonl=True,
        ),
        _row(
            "a value that does not fit its type",
            _columns_changed(_as_text),
            "created_at",
            "part-0000",
        ),
        _row("a part with a column more", _columns_changed(_more), "nickname", "part-0000"),
        _row(
            "a part that lacks a required column",
            _columns_changed(_renamed, "key"),
            "id",
            "part-0000",
        ),
        _row(
            "a part that lacks a column that may be NULL",
            _columns_changed(_without_its_last),
            "part-0000",
            "is not there",
        ),
    ),
)
