from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from dap_pipeline.dap.catalogue import Catalogue, CatalogueTable, load_catalogue, save_namespace
from dap_pipeline.dap.models import TableName, VersionedSchema
from dap_pipeline.errors import ConfigurationError, StorageError, UnknownTableError

COURSES = TableName("canvas", "courses")


def schema(version: int = 7, **value: Any) -> VersionedSchema:
    properties = {
        "meta": {"type": "object", "properties": {"ts": {"type": "string"}}},
        "key": {"type": "object", "properties": {"id": {"type": "integer"}}},
        "value": {"type": "object", "properties": value},
    }
    return VersionedSchema(schema={"type": "object", "properties": properties}, version=version)


def test_the_shipped_tables_are_known_without_asking() -> None:
    catalogue = load_catalogue()
    assert catalogue.namespaces == ("canvas", "canvas_logs", "catalog")
    assert [len(catalogue.names(n)) for n in catalogue.namespaces] == [90, 1, 28]
    assert len(catalogue.names()) == len(catalogue.tables) == 119
    table = catalogue.get(COURSES)
    assert table is not None
    assert set(table.schema.json_schema["properties"]) == {"meta", "key", "value"}


def test_tables_come_in_the_order_of_their_names() -> None:
    names = load_catalogue().names()
    assert list(names) == sorted(names)


def test_what_is_not_known_is_none() -> None:
    catalogue = Catalogue([CatalogueTable(COURSES, schema())])
    assert catalogue.get(TableName("canvas", "users")) is None
    assert catalogue.names("catalog") == ()


def test_a_folder_that_does_not_exist_changes_nothing(tmp_path: Path) -> None:
    assert load_catalogue(tmp_path / "none").names() == load_catalogue().names()


def test_a_refreshed_namespace_wins_whole_and_leaves_the_others(tmp_path: Path) -> None:
    save_namespace(tmp_path / "c", "canvas", {"courses": schema(), "brand_new": schema(1)})
    catalogue = load_catalogue(tmp_path / "c")
    assert [n.table for n in catalogue.names("canvas")] == ["brand_new", "courses"]
    assert len(catalogue.names("catalog")) == 28
    table = catalogue.get(COURSES)
    assert table is not None
    assert table.schema.version == 7


def test_a_namespace_that_nobody_shipped_is_taken_too(tmp_path: Path) -> None:
    save_namespace(tmp_path, "new_quizzes", {"quizzes": schema()})
    assert load_catalogue(tmp_path).names("new_quizzes") == (TableName("new_quizzes", "quizzes"),)


def value_of(table: CatalogueTable | None) -> dict[str, Any]:
    assert table is not None
    found: dict[str, Any] = table.schema.json_schema["properties"]["value"]
    return found


def test_shipped_words_fill_in_where_dap_gives_none(tmp_path: Path) -> None:
    fresh = schema(
        name={"type": "string"}, conclude_at={"type": "string", "description": "DAP's own words."}
    )
    save_namespace(tmp_path, "canvas", {"courses": fresh})
    shipped = value_of(load_catalogue().get(COURSES))
    value = value_of(load_catalogue(tmp_path).get(COURSES))
    assert value["title"] == shipped["title"]
    assert value["properties"]["name"] == {
        "type": "string",
        "description": shipped["properties"]["name"]["description"],
    }
    assert value["properties"]["conclude_at"]["description"] == "DAP's own words."
    assert set(value["properties"]) == {"name", "conclude_at"}


def test_columns_named_like_words_are_not_taken_for_words(tmp_path: Path) -> None:
    odd = schema(title={"type": "string"}, description={"type": "string"}, properties={"type": "x"})
    announcements = TableName("canvas", "discussion_topics")
    save_namespace(tmp_path, "canvas", {"discussion_topics": odd})
    value = value_of(load_catalogue(tmp_path).get(announcements))
    assert value["properties"]["title"]["type"] == "string"
    assert list(value["properties"]) == ["title", "description", "properties"]
    assert isinstance(value["title"], str)


def test_what_is_saved_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = schema(3, sign={"type": "string", "enum": ["\u00fc", "\u2028", "\ud7ff"]})
    save_namespace(tmp_path, "own", {"t": kept})
    table = load_catalogue(tmp_path).get(TableName("own", "t"))
    assert table is not None
    assert table.schema == kept


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"schema": {}}',
        b'{"schema": [], "version": 1}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    save_namespace(tmp_path, "canvas", {"courses": schema()})
    (tmp_path / "canvas" / "courses.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"canvas/courses\.json cannot be read") as e:
        load_catalogue(tmp_path)
    assert "refresh-catalogue" in str(e.value)


def test_a_file_that_no_table_can_be_named_after_is_named(tmp_path: Path) -> None:
    save_namespace(tmp_path, "canvas", {"courses": schema()})
    (tmp_path / "canvas" / "courses (copy).json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"courses \(copy\)\.json"):
        load_catalogue(tmp_path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    save_namespace(tmp_path, "canvas", {"courses": schema()})
    (tmp_path / "canvas" / "users.json").mkdir()
    with pytest.raises(ConfigurationError, match=r"users\.json"):
        load_catalogue(tmp_path)


def test_other_files_are_nobodys_business(tmp_path: Path) -> None:
    save_namespace(tmp_path, "canvas", {"courses": schema()})
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.json").write_text("no JSON")
    (tmp_path / "readme.json").write_text("no JSON")
    (tmp_path / "canvas" / "notes.txt").write_text("no JSON")
    assert load_catalogue(tmp_path).names("canvas") == (COURSES,)


def test_a_namespace_is_replaced_whole(tmp_path: Path) -> None:
    save_namespace(tmp_path, "canvas", {"courses": schema(), "users": schema()})
    save_namespace(tmp_path, "canvas", {"users": schema(8)})
    assert [t.schema.version for t in load_catalogue(tmp_path).tables][:1] == [8]
    assert [path.name for path in tmp_path.iterdir()] == ["canvas"]


def test_the_folder_is_its_owners_only(tmp_path: Path) -> None:
    save_namespace(tmp_path / "c", "canvas", {"courses": schema()})
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("namespace", "table"), [("../x", "t"), ("canvas", "../t"), ("", "t"), ("a/b", "t")]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, namespace: str, table: str) -> None:
    with pytest.raises(UnknownTableError):
        save_namespace(tmp_path / "c", namespace, {table: schema()})
    with pytest.raises(UnknownTableError):
        save_namespace(tmp_path / "c", "../x", {})
    assert list(tmp_path.iterdir()) == []


def test_a_namespace_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    save_namespace(tmp_path, "canvas", {"courses": schema()})
    # A name of 200 letters passes, but not with the suffix on top on every file system; a folder
    # in the way of the scratch folder fails everywhere.
    long = "t" * 200
    tables = {"users": schema(), long: schema()}
    blocked = tmp_path / "canvas" / "courses.json"
    before = blocked.read_bytes()
    with pytest.raises(StorageError, match="cannot be written"):
        save_namespace(blocked, "canvas", tables)
    assert blocked.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["canvas"]


def test_the_old_copy_returns_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_namespace(tmp_path, "canvas", {"courses": schema()})
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        # Two renames in the same folder: no file system fails the second one at a test's wish.
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StorageError, match="No space left"):
        save_namespace(tmp_path, "canvas", {"users": schema()})
    monkeypatch.undo()
    assert load_catalogue(tmp_path).names("canvas") == (COURSES,)
    assert [path.name for path in tmp_path.iterdir()] == ["canvas"]


def test_copies_that_are_saved_at_the_same_time_leave_one_of_them_whole(tmp_path: Path) -> None:
    names = {n: {f"{n}_{i}": schema() for i in range(5)} for n in "abcd"}
    together = threading.Barrier(4)

    def save(name: str) -> None:
        together.wait(60)
        try:
            save_namespace(tmp_path, "own", names[name])
        except StorageError:
            return

    threads = [threading.Thread(target=save, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    left = [n.table for n in load_catalogue(tmp_path).names("own")]
    assert left in [list(tables) for tables in names.values()]


def test_what_is_saved_is_json_that_people_can_read(tmp_path: Path) -> None:
    save_namespace(tmp_path, "canvas", {"courses": schema()})
    text = (tmp_path / "canvas" / "courses.json").read_text()
    assert text.endswith("}\n")
    assert len(text.splitlines()) > 10
    assert set(json.loads(text)) == {"schema", "version"}
