from __future__ import annotations

import pytest

from .caller import Caller
from .small_school import USER_SCHEMA


def test_the_tables_of_a_namespace_are_listed(caller: Caller) -> None:
    answer = caller.get("/dap/query/canvas/table")
    assert answer.status_code == 200
    assert answer.json() == {"tables": ["everything", "nothing", "users"]}


def test_a_schema_comes_with_its_version_and_nothing_else(caller: Caller) -> None:
    answer = caller.get("/dap/query/canvas/table/users/schema")
    assert answer.json() == {"schema": USER_SCHEMA, "version": 3}
    # A JSON Schema says the order of the columns by the order of its properties.
    value = answer.json()["schema"]["properties"]["value"]["properties"]
    assert list(value) == list(USER_SCHEMA["properties"]["value"]["properties"])


@pytest.mark.parametrize(
    ("path", "kind", "identifier"),
    [
        ("/dap/query/mastery/table", "namespace", "mastery"),
        ("/dap/query/mastery/table/users/schema", "namespace", "mastery"),
        ("/dap/query/canvas/table/coarses/schema", "table", "coarses"),
        ("/dap/query/sandbox/table/tables/schema", "namespace", "sandbox"),
        ("/dap/query/canvas/table/users%22;--/schema", "table", 'users";--'),
        ("/dap/job/123", "job", "123"),
    ],
)
def test_what_does_not_exist_is_named_with_its_kind(
    caller: Caller, path: str, kind: str, identifier: str
) -> None:
    answer = caller.get(path)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error.keys() == {"type", "uuid", "message", "id", "kind"}
    assert (error["type"], error["kind"]) == ("ObjectNotFound", kind)
    assert error["id"] == identifier


def test_data_of_an_unknown_table_is_not_found(caller: Caller) -> None:
    for namespace, table, kind in [("mastery", "x", "namespace"), ("canvas", "x", "table")]:
        answer = caller.data(table, {"format": "tsv"}, namespace)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (404, kind)


def test_a_scope_may_be_named_with_every_query(caller: Caller) -> None:
    scope = "?scope=b5b8e2f0-0000-4000-8000-000000000000"
    assert caller.get(f"/dap/query/canvas/table{scope}").ok
    assert caller.get(f"/dap/query/canvas/table/users/schema{scope}").ok
    path = f"/dap/query/canvas/table/users/data{scope}"
    assert caller.post(path, {"format": "tsv"}).status_code == 202


def test_an_unknown_path_is_answered_with_json(caller: Caller) -> None:
    for answer in (caller.get("/dap/nothing"), caller.post("/dap/query/canvas/table", {})):
        assert answer.status_code in {404, 405}
        assert answer.json().keys() == {"message"}
