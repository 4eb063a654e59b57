from __future__ import annotations

from typing import Any

import pytest

from dap_pipeline.sandbox.dialect import Kind, SchemaError, field_type, table_fields

from .small_school import EVERYTHING_SCHEMA, USER_SCHEMA


@pytest.mark.parametrize(
    ("node", "duckdb_type"),
    [
        ({"type": "integer", "format": "int16"}, "SMALLINT"),
        ({"type": "integer", "format": "int32"}, "INTEGER"),
        ({"type": "integer", "format": "int64"}, "BIGINT"),
        ({"type": "integer"}, "BIGINT"),
        ({"type": "integer", "format": "int32", "enum": [1, 2]}, "INTEGER"),
        ({"enum": [1, 2]}, "BIGINT"),
        ({"type": "number", "format": "float32"}, "FLOAT"),
        ({"type": "number", "format": "float64"}, "DOUBLE"),
        ({"type": "number"}, "DOUBLE"),
        ({"type": "number", "multipleOf": 0.01}, "DOUBLE"),
        ({"type": "boolean"}, "BOOLEAN"),
        ({"type": "string"}, "VARCHAR"),
        ({"type": "string", "enum": ["a"]}, "VARCHAR"),
        ({"enum": ["a", "b"]}, "VARCHAR"),
        ({"const": "a"}, "VARCHAR"),
        ({"type": "string", "format": "uuid"}, "VARCHAR"),
        ({"type": "string", "format": "duration"}, "VARCHAR"),
        ({"type": "string", "format": "date-time"}, "TIMESTAMP"),
        ({"type": "string", "format": "date"}, "DATE"),
        ({"type": "string", "format": "time"}, "TIME"),
        ({"oneOf": [{"type": "string", "const": "x"}, {"type": "string"}]}, "VARCHAR"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "VARCHAR"),
        ({"type": "object"}, "VARCHAR"),
        ({"type": "array"}, "VARCHAR"),
        ({"type": "array", "items": {"type": "boolean"}}, "BOOLEAN[]"),
        (
            {"type": "object", "properties": {"a b": {"type": "boolean"}, 'q"': {"$ref": "#/d/x"}}},
            'STRUCT("a b" BOOLEAN, "q""" DATE)',
        ),
    ],
)
def test_a_json_type_has_a_duckdb_type(node: dict[str, Any], duckdb_type: str) -> None:
    root = {"d": {"x": {"type": "string", "format": "date"}}}
    assert field_type(node, root).duckdb == duckdb_type


@pytest.mark.parametrize(
    ("bounds", "duckdb_type"),
    [
        ({"exclusiveMinimum": -1000, "exclusiveMaximum": 1000}, "DECIMAL(5,2)"),
        ({"minimum": -1000, "maximum": 1000}, "DECIMAL(6,2)"),
        ({"minimum": 0, "exclusiveMaximum": 1}, "DECIMAL(3,2)"),
        ({"minimum": -(10**40), "maximum": 10**40}, "DOUBLE"),
    ],
)
def test_a_number_with_step_and_bounds_is_a_decimal(
    bounds: dict[str, Any], duckdb_type: str
) -> None:
    node = {"type": "number", "multipleOf": 0.01, **bounds}
    assert field_type(node, {}).duckdb == duckdb_type


def test_an_object_without_members_is_json() -> None:
    assert field_type({"type": "object"}, {}).kind is Kind.JSON
    mixed = {"oneOf": [{"type": "string"}, {"type": "object"}]}
    assert field_type(mixed, {}).kind is Kind.JSON


@pytest.mark.parametrize(
    "node", [{"type": "null"}, {}, {"$ref": "#/a"}, {"$ref": "http://x"}, {"enum": [1, "a"]}]
)
def test_what_is_not_in_the_dialect_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        field_type(node, {"a": {"$ref": "#/a"}})


def test_fields_stand_in_the_order_of_the_schema() -> None:
    fields = table_fields(USER_SCHEMA)
    assert [each.name for each in fields.all] == ["id", "name", "created_at", "workflow_state"]
    assert [each.required for each in fields.all] == [True, False, False, False]
    nested = next(each for each in table_fields(EVERYTHING_SCHEMA).value if each.name == "nested")
    assert [each.name for each in nested.type.fields] == ["plain", "number", "deep"]
