"""The lake publishes loads whole or not at all, once, and remembers them."""

from __future__ import annotations

import json
import os
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import (
    ConcurrentLoadError,
    LakeError,
    StorageError,
)
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.sql import literals
from dap_pipeline.lake.tables import Lake

from .loading import NAME, NOON, SHAPE, made_file, new_load, publish
from .making import (
    DATE,
    DOUBLE,
    INSTANT,
    INT16,
    INT64,
    JSON,
    STRING,
    decimal,
    list_of,
    object_of,
    shape,
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def _rows(files: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return duckdb.sql(
        f"SELECT id, a FROM read_parquet({literals(list(files))}) ORDER BY 1"
    ).fetchall()


def test_a_table_that_was_never_loaded_is_not_there(lake: Lake) -> None:
    assert lake.table(NAME) is None
    assert lake.tables() == []
    assert lake.history(NAME) == []


def test_a_published_table_tells_its_files_shape_and_load(lake: Lake, tmp_path: Path) -> None:
    since = NOON - timedelta(days=1)
    made = publish(lake, tmp_path, "job-1", [{"a": "x"}, {"a": "y"}], since=since)
    table = lake.table(NAME)
    assert table == made
    assert (table.name, table.version, table.rows, table.shape) == (NAME, 0, 2, SHAPE)
    assert table.bytes == sum(Path(file).stat().st_size for file in table.files)
    load = table.load
    assert (load.kind, load.job_id, load.schema_version) == (LoadKind.SNAPSHOT, "job-1", 1)
    assert (load.at, load.since, load.version, load.rows) == (NOON, since, 0, 2)
    assert abs(load.committed_at - datetime.now(UTC)) < timedelta(minutes=1)
    (file,) = table.files
    assert Path(file).parent == lake.root / "canvas" / "courses"
    assert Path(file).name.startswith("snapshot-20261123T120000Z-")


def test_a_new_snapshot_replaces_all_rows_of_the_old_one(lake: Lake, tmp_path: Path) -> None:
    first = publish(lake, tmp_path, "job-1", [{"a": "x"}] * 5)
    load = new_load("job-2", first.version)
    files = [made_file(tmp_path, [{"a": "y"}]), made_file(tmp_path, [{"a": "z"}])]
    second = lake.publish(NAME, SHAPE, files, load)
    assert (second.version, second.rows, len(second.files)) == (1, 2, 2)
    assert sorted(row[1] for row in _rows(second.files)) == ["y", "z"]
    # Who still has the list of the first version can go on reading.
    assert len(_rows(first.files)) == 5


def test_old_versions_and_the_history_can_be_read(lake: Lake, tmp_path: Path) -> None:
    for number in range(3):
        publish(lake, tmp_path, f"job-{number}", [{"a": "x"}] * (number + 1))
    old = lake.table(NAME, version=1)
    assert old is not None
    assert (old.rows, old.load.job_id, len(_rows(old.files))) == (2, "job-1", 2)
    history = lake.history(NAME)
    assert [(h.version, h.job_id, h.rows) for h in history] == [
        (2, "job-2", 3),
        (1, "job-1", 2),
        (0, "job-0", 1),
    ]
    assert lake.table(NAME, version=7) is None


def test_tables_are_listed_by_name(lake: Lake, tmp_path: Path) -> None:
    names = [TableName("canvas", "users"), TableName("canvas", "accounts"), TableName("a", "z")]
    for name in names:
        publish(lake, tmp_path, f"job-{name}", [], name=name)
    assert [table.name for table in lake.tables()] == sorted(names)


def test_the_same_load_is_never_applied_twice(lake: Lake, tmp_path: Path) -> None:
    publish(lake, tmp_path, "job-1", [{"a": "x"}])
    publish(lake, tmp_path, "job-2", [{"a": "y"}] * 2)
    again = made_file(tmp_path, [{"a": "x"}])
    table = lake.publish(NAME, SHAPE, [again], new_load("job-1", 1))
    assert (table.version, table.rows, table.load.job_id) == (1, 2, "job-2")
    assert again.path.exists()


def test_a_load_that_was_overtaken_changes_nothing(lake: Lake, tmp_path: Path) -> None:
    publish(lake, tmp_path, "job-1", [{"a": "x"}])
    late = made_file(tmp_path, [{"a": "late"}])
    with pytest.raises(ConcurrentLoadError, match="started from no table"):
        lake.publish(NAME, SHAPE, [late], new_load("job-2"))
    publish(lake, tmp_path, "job-3", [{"a": "y"}])
    with pytest.raises(ConcurrentLoadError, match=r"canvas.courses.*from version 0.*job-2"):
        lake.publish(NAME, SHAPE, [late], new_load("job-2", 0))
    assert late.path.exists()
    assert len(list((lake.root / "canvas" / "courses").glob("*.parquet"))) == 2
    assert [h.job_id for h in lake.history(NAME)] == ["job-3", "job-1"]


def _publish_at_once(
    lake: Lake, files: list[WrittenFile], jobs: list[str], base: int | None
) -> list[str]:
    start = threading.Barrier(len(files))
    outcomes: list[str] = []

    def run(file: WrittenFile, job: str) -> None:
        start.wait()
        try:
            lake.publish(NAME, SHAPE, [file], new_load(job, base))
            outcomes.append("published")
        except ConcurrentLoadError:
            outcomes.append("overtaken")

    threads = [threading.Thread(target=run, args=pair) for pair in zip(files, jobs, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


@pytest.mark.parametrize("rows", [None, [], [{"a": "x"}]])
def test_of_loads_at_the_same_time_one_wins(
    lake: Lake, tmp_path: Path, rows: list[dict[str, Any]] | None
) -> None:
    base = None if rows is None else publish(lake, tmp_path, "job-0", rows).version
    files = [made_file(tmp_path, rows or []) for _ in range(6)]
    outcomes = _publish_at_once(lake, files, [f"job-{n}" for n in range(1, 7)], base)
    assert outcomes == ["overtaken"] * 5 + ["published"]
    assert len(lake.history(NAME)) == (1 if base is None else 2)
    assert sum(file.path.exists() for file in files) == 5


@pytest.mark.parametrize("is_new", [True, False])
def test_of_the_same_load_at_the_same_time_one_is_applied_and_none_fails(
    lake: Lake, tmp_path: Path, is_new: bool
) -> None:
    base = None if is_new else publish(lake, tmp_path, "job-0", [{"a": "x"}]).version
    files = [made_file(tmp_path, [{"a": "y"}]) for _ in range(4)]
    assert _publish_at_once(lake, files, ["job-1"] * 4, base) == ["published"] * 4
    table = lake.table(NAME)
    assert table is not None
    assert (table.rows, len(table.files), table.load.job_id) == (1, 1, "job-1")
    assert sum(file.path.exists() for file in files) == 3


def test_a_new_schema_comes_with_its_rows_in_one_commit(lake: Lake, tmp_path: Path) -> None:
    old = shape({"kept": INT64, "gone": STRING, "retyped": INT16}, title="Old.")
    publish(lake, tmp_path, "job-1", [{"kept": 1, "gone": "x", "retyped": 2}], table=old)
    new = shape({"retyped": STRING, "kept": INT64, "added": INSTANT}, version=2, title="New.")
    table = publish(
        lake, tmp_path, "job-2", [{"kept": 1, "retyped": "two"}], table=new, schema_version=2
    )
    assert table.load.version == 1
    assert table.shape == new
    assert DeltaTable(str(lake.root / "canvas" / "courses")).metadata().description == "New."
    read = DeltaTable(str(lake.root / "canvas" / "courses")).to_pyarrow_table()
    assert read.column_names == ["id", "retyped", "kept", "added", "meta_ts"]
    assert read["retyped"].to_pylist() == ["two"]
    past = lake.table(NAME, version=0)
    assert past is not None
    assert past.shape == old


def test_an_empty_table_keeps_its_columns(lake: Lake, tmp_path: Path) -> None:
    nothing = lake.publish(NAME, SHAPE, [], new_load("job-1"))
    assert (nothing.files, nothing.rows, nothing.bytes, nothing.shape) == ((), 0, 0, SHAPE)
    read = DeltaTable(str(lake.root / "canvas" / "courses")).to_pyarrow_table()
    assert (read.num_rows, read.column_names) == (0, ["id", "a", "meta_ts"])
    assert publish(lake, tmp_path, "job-2", [{"a": "x"}]).rows == 1
    assert lake.publish(NAME, SHAPE, [], new_load("job-3", 1)).rows == 0


def test_every_reader_sees_the_same_rows(lake: Lake, tmp_path: Path) -> None:
    table = shape(
        {
            "t": STRING,
            "i": INSTANT,
            "d": DATE,
            "f": DOUBLE,
            "m": decimal(8, 2),
            "s": object_of(x=INT64, y=STRING),
            "l": list_of(STRING),
            "j": JSON,
        }
    )
    rows: list[dict[str, Any]] = [
        {"t": "é😀", "i": "2024-01-02T03:04:05.000001Z", "d": "2024-02-29", "f": -0.5, "m": 1.25},
        {"t": "", "s": {"x": 5}, "l": ["a", None], "j": {"k": [1]}},
        {"i": "+12345-01-01T00:00:00Z", "d": "-0005-01-01", "l": []},
    ]
    published = publish(lake, tmp_path, "job-1", rows, table=table)
    folder = str(lake.root / "canvas" / "courses")
    duck = duckdb.sql(
        f"SELECT * FROM read_parquet({literals(list(published.files))}) ORDER BY id"
    ).to_arrow_table()
    arrow = DeltaTable(folder).to_pyarrow_table().sort_by("id")
    polars = pl.scan_delta(folder).sort("id").collect()
    assert arrow.num_rows == polars.height == duck.num_rows == 3
    for name in duck.column_names:
        kind = arrow[name].type
        assert duck[name].cast(kind).equals(arrow[name])
        assert pa.chunked_array([polars[name].to_arrow()]).cast(kind).equals(arrow[name])
    assert lake.tables()[0].rows == 3


def test_delta_knows_descriptions_types_and_statistics(lake: Lake, tmp_path: Path) -> None:
    publish(lake, tmp_path, "job-1", [{"a": "x"}] * 3)
    delta = DeltaTable(str(lake.root / "canvas" / "courses"))
    assert delta.metadata().name == "courses"
    assert delta.metadata().description == "One row per course."
    (field,) = (f for f in json.loads(delta.schema().to_json())["fields"] if f["name"] == "a")
    assert field["nullable"]
    assert field["metadata"]["comment"] == "What it is."
    assert field["metadata"]["dap.type"] == "text"
    (action,) = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    assert (action["num_records"], action["min.id"], action["max.id"]) == (3, 1, 3)
    assert action["null_count.id"] == 0


def test_everything_is_for_its_owner_alone(lake: Lake, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for number in range(12):
            publish(lake, tmp_path, f"job-{number}", [{"a": "x"}])
        lake.claim("a service")
    finally:
        os.umask(before)
    everything = [lake.root, *lake.root.rglob("*")]
    assert any("checkpoint" in path.name for path in everything)
    modes = {path: path.stat().st_mode & 0o777 for path in everything}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_commits_of_other_programs_do_not_hide_the_load(lake: Lake, tmp_path: Path) -> None:
    publish(lake, tmp_path, "job-1", [{"a": "x"}])
    delta = DeltaTable(str(lake.root / "canvas" / "courses"))
    delta.alter.set_table_name("ours")
    table = lake.table(NAME)
    assert table is not None
    assert (table.version, table.load.job_id, table.load.version) == (1, "job-1", 0)
    assert publish(lake, tmp_path, "job-2", [{"a": "y"}]).version == 2
    assert [h.version for h in lake.history(NAME)] == [2, 0]


def test_folders_that_are_no_tables_are_not_listed(lake: Lake, tmp_path: Path) -> None:
    publish(lake, tmp_path, "job-1", [])
    (lake.root / "canvas" / "empty").mkdir()
    (lake.root / "canvas" / "no table's name!" / "_delta_log").mkdir(parents=True)
    assert [table.name for table in lake.tables()] == [NAME]


def test_what_is_no_table_of_the_lake_is_an_error(lake: Lake, tmp_path: Path) -> None:
    publish(lake, tmp_path, "job-1", [{"a": "x"}])
    log = lake.root / "canvas" / "courses" / "_delta_log"
    (log / "00000000000000000000.json").write_text("nonsense")
    with pytest.raises(LakeError, match="cannot be read as a table of this lake"):
        lake.table(NAME)


def test_a_table_that_was_read_is_read_anew_after_another_process_has_published(
    lake: Lake, tmp_path: Path
) -> None:
    publish(lake, tmp_path, "job-1", [{"a": "x"}])
    assert lake.table(NAME) == lake.table(NAME)
    publish(Lake(lake.root), tmp_path, "job-2", [{"a": "x"}, {"a": "y"}])
    table = lake.table(NAME)
    assert table is not None
    assert (table.rows, table.load.job_id) == (2, "job-2")


def test_a_table_that_was_read_is_read_anew_after_it_was_removed_and_made_anew(
    lake: Lake, tmp_path: Path
) -> None:
    publish(lake, tmp_path, "job-1", [{"a": "x"}])
    shutil.rmtree(lake.folder(NAME))
    assert lake.table(NAME) is None
    publish(Lake(lake.root), tmp_path, "job-2", [{"a": "x"}, {"a": "y"}])
    table = lake.table(NAME)
    assert table is not None
    assert (table.rows, table.load.job_id) == (2, "job-2")


def test_a_table_that_was_read_still_tells_when_dap_was_asked_since(
    lake: Lake, tmp_path: Path
) -> None:
    before = publish(lake, tmp_path, "job-1", [{"a": "x"}])
    Lake(lake.root).confirm(before, before.watermark)
    after = lake.table(NAME)
    assert after is not None
    assert after.checked_at > before.checked_at


def test_a_lake_below_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lake = Lake(tmp_path / "file" / "lake")
    file = made_file(tmp_path, [{"a": "x"}])
    with pytest.raises(StorageError, match="could not write into"):
        lake.publish(NAME, SHAPE, [file], new_load("job-1"))
    assert file.path.exists()


def test_an_interrupt_right_after_the_commit_does_not_take_the_files_away(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dagster raises in the middle of a step when a run is stopped.
    publish(lake, tmp_path, "job-1", [{"a": "x"}])
    commit = DeltaTable.create_write_transaction

    def commit_and_stop(*args: Any, **more: Any) -> None:
        commit(*args, **more)
        raise KeyboardInterrupt

    file = made_file(tmp_path, [{"a": "y"}] * 2)
    monkeypatch.setattr(DeltaTable, "create_write_transaction", commit_and_stop)
    with pytest.raises(KeyboardInterrupt):
        lake.publish(NAME, SHAPE, [file], new_load("job-2", 0))
    table = lake.table(NAME)
    assert table is not None
    assert (table.load.job_id, len(_rows(table.files))) == ("job-2", 2)


@pytest.mark.slow
def test_of_hundreds_of_versions_a_reader_needs_the_last_few(lake: Lake, tmp_path: Path) -> None:
    publish(lake, tmp_path, "job-0", [{"a": "x"}])
    for number in range(200):
        lake.publish(NAME, SHAPE, [], new_load(f"job-{number + 1}", number))
    log = lake.folder(NAME) / "_delta_log"
    folded = json.loads((log / "_last_checkpoint").read_text())["version"]
    assert 200 - folded <= 10
    table = lake.table(NAME)
    assert table is not None
    assert table.version == 200
    assert len(lake.history(NAME)) == 201


def test_paths_with_odd_characters_work(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "é x#&'=;+" / "lake")
    lake.check_writable()
    table = publish(lake, tmp_path, "job-1", [{"a": "x"}])
    assert pq.read_table(table.files[0]).num_rows == 1
    publish(lake, tmp_path, "job-2", [{"a": "y"}])
    assert lake.vacuum(NAME, timedelta(0)) == 1
