from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from dap_pipeline.dap.models import VersionedSchema
from dap_pipeline.dap.schema_book import SchemaBook
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import SchemaUnavailableError, StorageError

from .parts import COURSES, SCHEMA, client_of
from .scripted import ScriptedServer, says


def answer(version: int) -> dict[str, object]:
    return {"schema": {"type": "object", "title": f"of {version}"}, "version": version}


@pytest.fixture
def book(server: ScriptedServer, tmp_path: Path) -> SchemaBook:
    server.logs_in()
    return SchemaBook(client_of(server.url, tmp_path), tmp_path / "schemas")


def test_a_schema_is_asked_for_once_and_then_known(
    server: ScriptedServer, book: SchemaBook, tmp_path: Path
) -> None:
    server.on(SCHEMA, says(answer(3)))
    first = book.schema(COURSES, 3, Stop())
    assert first.json_schema == {"type": "object", "title": "of 3"}
    assert book.schema(COURSES, 3, Stop()) == first
    again = SchemaBook(client_of(server.url, tmp_path), tmp_path / "schemas")
    assert again.schema(COURSES, 3, Stop()) == first


def test_an_older_version_is_known_when_it_was_kept(
    server: ScriptedServer, book: SchemaBook
) -> None:
    server.on(SCHEMA, says(answer(3)), says(answer(4)))
    book.schema(COURSES, 3, Stop())
    assert book.schema(COURSES, 4, Stop()).version == 4
    assert book.schema(COURSES, 3, Stop()).version == 3


def test_a_version_that_dap_does_not_give_any_more_is_an_error_that_names_both(
    server: ScriptedServer, book: SchemaBook
) -> None:
    server.on(SCHEMA, says(answer(4)))
    with pytest.raises(SchemaUnavailableError, match=r"canvas\.courses: .*version 3, .*version 4"):
        book.schema(COURSES, 3, Stop())
    assert book.schema(COURSES, 4, Stop()).version == 4


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"version": 3}'])
def test_a_kept_schema_that_cannot_be_read_is_asked_for_anew(
    server: ScriptedServer, book: SchemaBook, tmp_path: Path, content: bytes
) -> None:
    server.on(SCHEMA, says(answer(3)), says(answer(3)))
    book.schema(COURSES, 3, Stop())
    (tmp_path / "schemas" / "canvas" / "courses.v3.json").write_bytes(content)
    assert book.schema(COURSES, 3, Stop()).version == 3


def test_threads_that_keep_the_same_schema_do_not_disturb_each_other(
    book: SchemaBook, tmp_path: Path
) -> None:
    schema = VersionedSchema(schema={"title": "x" * 100_000}, version=3)
    together = threading.Barrier(8)
    faults: list[BaseException] = []

    def keep() -> None:
        together.wait(60)
        try:
            for _ in range(20):
                book.keep(COURSES, schema)
        except StorageError as error:
            faults.append(error)

    threads = [threading.Thread(target=keep) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    files = list((tmp_path / "schemas" / "canvas").iterdir())
    assert [file.name for file in files] == ["courses.v3.json"]
    assert book.schema(COURSES, 3, Stop()) == schema


def test_a_folder_that_cannot_be_written_is_told(server: ScriptedServer, tmp_path: Path) -> None:
    server.logs_in()
    server.on(SCHEMA, says(answer(3)))
    (tmp_path / "file").write_text("no folder")
    book = SchemaBook(client_of(server.url, tmp_path), tmp_path / "file")
    with pytest.raises(StorageError, match="cannot be written"):
        book.schema(COURSES, 3, Stop())


def test_the_folders_are_their_owners_only(
    server: ScriptedServer, book: SchemaBook, tmp_path: Path
) -> None:
    server.on(SCHEMA, says(answer(3)))
    book.schema(COURSES, 3, Stop())
    assert stat.S_IMODE((tmp_path / "schemas" / "canvas").stat().st_mode) == 0o700
