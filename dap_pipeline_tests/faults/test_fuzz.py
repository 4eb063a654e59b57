"""Whatever comes from outside is understood or refused; it never breaks what reads it.

Jobs, errors, links and headers are tried in the tests of the room that reads them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import VersionedSchema
from dap_pipeline.dap.names import file_names, job_folder_name
from dap_pipeline.errors import DapPipelineError
from dap_pipeline.lake.columns import shape_of

from .proving import ORDERS, proves

_FEW = settings(max_examples=300, deadline=None, derandomize=True, database=None)

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_WORDS = st.sampled_from(
    ["string", "integer", "number", "boolean", "object", "array", "int64", "date-time", "uuid"]
)
_KEYWORDS = st.sampled_from(
    [
        *("type", "format", "properties", "additionalProperties", "required", "items", "oneOf"),
        *("enum", "const", "maxLength", "multipleOf", "minimum", "maximum", "description", "$ref"),
        *("meta", "key", "value", "ts", "action", "id", "x"),
    ]
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(_KEYWORDS, inner, max_size=5)


_ANYTHING = st.recursive(_SCALARS | _WORDS, _nested, max_leaves=20)
_FIELDS = st.dictionaries(st.text(max_size=5), _ANYTHING, max_size=4)
_SECTION = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": _FIELDS | _ANYTHING},
    optional={"required": st.lists(st.text(max_size=5), max_size=2) | _ANYTHING},
)
_TABLE = st.fixed_dictionaries(
    {"properties": st.dictionaries(st.sampled_from(["meta", "key", "value"]), _SECTION)}
)
_SCHEMAS = _TABLE | st.dictionaries(_KEYWORDS, _ANYTHING, max_size=5)
_FILES = _ANYTHING | st.fixed_dictionaries({"schema": _SCHEMAS | _ANYTHING, "version": _ANYTHING})


def refusal(read: Callable[[], object]) -> str | None:
    """Tell what is said to something that is refused; None for what is read."""
    try:
        read()
    except DapPipelineError as error:
        return str(error)
    return None


@proves(
    ORDERS,
    "a schema that is not in the documented dialect",
    "Reads it, or fails the table and says what it does not know.",
)
@given(schema=_SCHEMAS)
@_FEW
def test_any_schema_has_a_shape_or_is_refused(schema: dict[str, Any]) -> None:
    said = refusal(lambda: shape_of(VersionedSchema(schema=schema, version=1)))
    assert said is None or said.endswith(".")


@proves(
    ORDERS,
    "a refreshed catalogue that was damaged",
    "Refuses it, names the file and says how to make it anew.",
)
@given(content=st.binary(max_size=60) | _FILES.map(lambda file: json.dumps(file).encode()))
@settings(_FEW, max_examples=80)
def test_any_catalogue_file_is_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "canvas", "users.json")
        file.parent.mkdir()
        file.write_bytes(content)
        said = refusal(lambda: load_catalogue(Path(folder)))
    assert said is None or ("users.json" in said and "refresh-catalogue" in said)


_PATHS = st.text(st.characters(codec="utf-8") | st.sampled_from("./%\\~:\0 "), max_size=400)


@proves(
    "Names and redirects",
    "any job id and any links",
    "Gives names that lie within the folder, are no longer than a disk allows, and differ even "
    "where case does not count.",
)
@given(job=_PATHS, paths=st.lists(_PATHS, min_size=1, max_size=6))
@_FEW
def test_any_links_have_names_within_the_folder(job: str, paths: list[str]) -> None:
    names = file_names([f"https://store.example/{path}" for path in paths], ".jsonl.gz")
    for name in (*names, job_folder_name(job)):
        assert "/" not in name
        assert "\0" not in name
        assert not name.startswith(".")
        assert 0 < len(name.encode()) < 256
    assert len(names) == len(paths) == len({name.lower() for name in names})
