"""DAP's JSON Schemas become the columns of published tables."""

from __future__ import annotations

import json
from typing import Any

import pytest
from deltalake import Schema

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import VersionedSchema
from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.columns import Section, TableShape, shape_of

from .making import (
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    INSTANT,
    INT16,
    INT32,
    INT64,
    STRING,
    decimal,
    list_of,
    object_of,
    schema_of,
    shape,
)

_TIMESTAMP = "TIMESTAMP WITH TIME ZONE"


@pytest.mark.parametrize(
    ("field", "kind", "duckdb"),
    [
        (INT16, "integer", "SMALLINT"),
        (INT32, "integer", "INTEGER"),
        (INT64, "integer", "BIGINT"),
        ({"type": "integer"}, "integer", "BIGINT"),
        ({"type": "integer", "enum": [1, 2]}, "integer", "BIGINT"),
        (FLOAT, "float", "FLOAT"),
        (DOUBLE, "float", "DOUBLE"),
        ({"type": "number"}, "float", "DOUBLE"),
        (decimal(8, 2), "decimal", "DECIMAL(10,2)"),
        (decimal(38, 0), "decimal", "DECIMAL(38,0)"),
        (decimal(38, 1), "text", "VARCHAR"),
        ({"type": "number", "multipleOf": 0.5}, "float", "DOUBLE"),
        (BOOLEAN, "boolean", "BOOLEAN"),
        (STRING, "text", "VARCHAR"),
        ({"type": "string", "maxLength": 255}, "text", "VARCHAR"),
        ({"type": "string", "enum": ["a"]}, "enum", "VARCHAR"),
        ({"enum": ["a"]}, "enum", "VARCHAR"),
        (INSTANT, "instant", _TIMESTAMP),
        (DATE, "date", "DATE"),
        ({"type": "string", "format": "time"}, "time", "VARCHAR"),
        ({"type": "string", "format": "duration"}, "duration", "VARCHAR"),
        ({"type": "string", "format": "uuid"}, "uuid", "VARCHAR"),
        ({"type": "string", "format": "ipv6"}, "ip", "VARCHAR"),
        ({"type": "string", "format": "unheard of"}, "text", "VARCHAR"),
        ({"type": ["integer", "null"], "format": "int32"}, "integer", "INTEGER"),
        ({"oneOf": [STRING, {"type": "string", "const": "x"}]}, "text", "VARCHAR"),
        ({"oneOf": [{"const": "x"}, STRING]}, "text", "VARCHAR"),
        ({"oneOf": [INT64, INT64]}, "integer", "BIGINT"),
        ({"oneOf": [INT64, {"type": "null"}]}, "integer", "BIGINT"),
        ({"oneOf": [INT64, STRING]}, "json", "VARCHAR"),
        ({"oneOf": [object_of(a=STRING), STRING]}, "json", "VARCHAR"),
        ({"type": "object"}, "json", "VARCHAR"),
        ({**object_of(a=STRING), "additionalProperties": True}, "json", "VARCHAR"),
        (object_of(Name=STRING, name=STRING), "json", "VARCHAR"),
        ({"type": "array"}, "json", "VARCHAR"),
        ({"type": "tuple"}, "json", "VARCHAR"),
        ({}, "json", "VARCHAR"),
        (object_of(a=INT32, b=INSTANT), "struct", f'STRUCT("a" INTEGER, "b" {_TIMESTAMP})'),
        (list_of(INT64), "list", "BIGINT[]"),
        (list_of(object_of(a=list_of(DATE))), "list", 'STRUCT("a" DATE[])[]'),
    ],
)
def test_every_type_of_the_dialect_has_a_column_type(
    field: dict[str, Any], kind: str, duckdb: str
) -> None:
    column = shape({"f": field}).column("f")
    assert (column.kind, column.duckdb_type) == (kind, duckdb)


def test_columns_are_key_then_value_then_the_time_of_commit() -> None:
    table = shape({"b": STRING, "a": INT64}, {"y": INT64, "x": STRING}, version=7)
    assert [column.name for column in table.columns] == ["y", "x", "b", "a", "meta_ts"]
    assert (table.key, table.schema_version) == (("y", "x"), 7)
    assert [c.required for c in table.columns] == [True, True, False, False, True]
    assert table.with_action().columns[-1].name == "meta_action"


def test_texts_and_marks_of_the_schema_are_kept() -> None:
    body = {
        "oneOf": [{"type": "string", "const": "__dap_oversized_truncated__"}, STRING],
        "description": "What was written.",
    }
    state = {"type": "string", "enum": ["new", "__dap_unspecified__"], "title": "State."}
    table = shape({"body": body, "state": state}, required=["state"], title="One row per page.")
    assert table.description == "One row per page."
    assert table.column("body").description == "What was written."
    assert table.column("body").oversized
    assert table.column("state").description == "State."
    assert table.column("state").members == ("new", "__dap_unspecified__")
    assert table.column("state").required


def test_references_are_followed_and_what_stands_beside_them_counts() -> None:
    schema = schema_of({"a": {"$ref": "#/definitions/colour", "description": "Of the hair."}})
    schema.json_schema["definitions"] = {
        "colour": {"$ref": "#/definitions/name", "description": "A colour."},
        "name": {"type": "string", "format": "uuid"},
    }
    column = shape_of(schema).column("a")
    assert (column.kind, column.description) == ("uuid", "Of the hair.")


def test_columns_of_the_same_name_are_told_apart() -> None:
    value = {
        "id": STRING,
        "Name": STRING,
        "name": STRING,
        "NAME": STRING,
        "meta_ts": STRING,
        "name_value": STRING,
    }
    names = {c.name: c.source for c in shape(value).columns}
    assert names == {
        "id": "id",
        "id_value": "id",
        "Name": "Name",
        "name_value_2": "name",
        "NAME_value_3": "NAME",
        "meta_ts_value": "meta_ts",
        "name_value": "name_value",
        "meta_ts": "ts",
    }


def _cyclic() -> VersionedSchema:
    schema = schema_of({"a": {"$ref": "#/definitions/a"}})
    schema.json_schema["definitions"] = {"a": {"$ref": "#/definitions/a"}}
    return schema


def _endless() -> VersionedSchema:
    schema = schema_of({"a": {"$ref": "#/definitions/a"}})
    schema.json_schema["definitions"] = {"a": object_of(a={"$ref": "#/definitions/a"})}
    return schema


def _with(**parts: Any) -> VersionedSchema:
    return VersionedSchema(schema=parts, version=1)


@pytest.mark.parametrize(
    "schema",
    [
        _with(),
        _with(properties=5),
        _with(properties={"key": []}),
        _with(properties={"value": object_of(a=STRING)}),
        _with(properties={"key": {"properties": {}}}),
        _with(properties={"key": {"properties": {"id": "integer"}}}),
        _with(properties={"key": {"properties": {"id": {}}, "required": "id"}}),
        schema_of({"": STRING}),
        schema_of({"a": object_of(**{"": STRING})}),
        schema_of({"a": {"$ref": "#/definitions/nowhere"}}),
        schema_of({"a": {"$ref": "https://example.edu/schema"}}),
        schema_of({"a": {"$ref": 5}}),
        schema_of({"a": {"oneOf": []}}),
        schema_of({"a": {"oneOf": "x"}}),
        schema_of({"a": {"type": "string", "enum": "x"}}),
        schema_of({"a": {"type": "number", "multipleOf": "x"}}),
        schema_of({"a": {"type": "number", "multipleOf": 0}}),
        schema_of({"a": {"type": "number", "multipleOf": 0.1, "minimum": 0, "maximum": "1e9999"}}),
        schema_of({"a": {"type": "object", "properties": []}}),
        _cyclic(),
        _endless(),
    ],
)
def test_a_malformed_schema_is_refused_with_its_place(schema: VersionedSchema) -> None:
    with pytest.raises(MisfitError, match="the schema of the table cannot be read: "):
        shape_of(schema)


def test_every_table_of_the_catalogue_has_a_shape_that_delta_takes_and_gives_back() -> None:
    for listed in load_catalogue().tables:
        table = shape_of(listed.schema)
        delta = Schema.from_json(table.delta_schema())
        assert TableShape.from_delta_schema(delta.to_json()) == table


def test_a_shape_with_everything_survives_the_way_through_delta() -> None:
    inner = object_of(a={"type": "string", "format": "uuid", "description": "d"}, b=decimal(5, 2))
    value = {
        "o": inner,
        "l": list_of(list_of({"type": "string", "format": "ipv4"})),
        "lo": list_of(inner),
        "j": {"type": "object"},
        "e": {"type": "integer", "enum": [1, 2], "description": 'with "quotes" and é'},
        "i": INT16,
        "f": FLOAT,
        "d": DATE,
    }
    table = shape(value, {"k": STRING, "n": DATE}, required=["o"], title="T")
    again = TableShape.from_delta_schema(Schema.from_json(table.delta_schema()).to_json())
    assert again == table
    assert json.loads(table.delta_schema())["fields"][0]["metadata"]["dap.type"] == "text"
    assert [c.name for c in again.columns if c.section is Section.KEY] == ["k", "n"]
