from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.evolution import merged_shape
from dap_pipeline.lake.keys_once import overlapping
from dap_pipeline.lake.merging.clustering import cluster, worth_clustering
from dap_pipeline.lake.merging.merge import BaseFile, Merged
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.verify import verified_footer
from dap_pipeline_tests.lake.making import (
    DOUBLE,
    FLOAT,
    INT16,
    INT32,
    INT64,
    JSON,
    STRING,
    decimal,
    list_of,
    object_of,
    shape,
)
from dap_pipeline_tests.lake.merging.tables import (
    Row,
    Table,
    at,
    base_file,
    counted,
    increment,
    tidy,
)

NAMES = shape({"name": STRING})


def named(key: int, second: int = 0, name: str = "old") -> Row:
    return {"id": key, "name": name, "meta_ts": at(second)}


def gone(key: int, second: int) -> Row:
    return {"id": key, "meta_ts": at(second), "meta_action": "D"}


def table_of(folder: Path, rows: int, per_file: int, **options: Any) -> Table:
    table = Table(folder, NAMES, **options)
    table.begin([named(key) for key in range(rows)], per_file)
    return table


def follow(table: Table, records: list[Row]) -> Merged:
    counts = table.apply(records)
    path = increment(table.folder / f"increment-{table.merges}.parquet", table.shape, records)
    merged = table.merge([path])
    assert counted(merged) == counts
    table.check()
    return merged


def test_only_files_with_a_changed_key_are_written_anew(tmp_path: Path) -> None:
    # Files of 600 bytes are full, so that none is folded.
    table = table_of(tmp_path, 100, 10, file_bytes=600)
    merged = follow(table, [named(5, 1, "new"), gone(95, 1), named(25, 0, "not newer")])
    assert [dict(file.key_min) for file in merged.removed] == [{"id": 0}, {"id": 90}]


def test_a_file_whose_bounds_hold_a_key_that_it_lacks_is_left_alone(tmp_path: Path) -> None:
    table = Table(tmp_path, NAMES, file_bytes=600)
    table.begin([named(key) for key in range(0, 40, 2)], 10)
    merged = follow(table, [named(7, 1, "new"), gone(9, 1)])
    assert merged.removed == ()
    assert merged.counts.inserted == 1


def test_files_without_known_bounds_are_looked_into(tmp_path: Path) -> None:
    table = table_of(tmp_path, 20, 10)
    table.files = [BaseFile(f.path, f.rows, f.bytes, {}, {}) for f in table.files]
    follow(table, [named(3, 1, "new"), gone(15, 1)])


def test_a_deletion_and_the_older_record_it_deletes_may_come_together_again(tmp_path: Path) -> None:
    table = table_of(tmp_path, 3, 3)
    follow(table, [gone(1, 5)])
    merged = follow(table, [named(1, 4, "before its deletion"), gone(1, 5)])
    assert merged.counts.unchanged == 1
    assert (1,) not in table.truth


def test_a_key_comes_back_after_its_deletion(tmp_path: Path) -> None:
    table = table_of(tmp_path, 3, 3)
    follow(table, [gone(1, 5)])
    assert follow(table, [named(1, 6, "again")]).counts.inserted == 1


def test_a_deletion_of_the_same_instant_counts(tmp_path: Path) -> None:
    table = table_of(tmp_path, 3, 3)
    assert follow(table, [named(1, 0, "same"), named(2, 0), gone(2, 0)]).counts.deleted == 1


def test_a_table_whose_rows_are_all_deleted_has_an_empty_file(tmp_path: Path) -> None:
    table = table_of(tmp_path, 20, 10)
    follow(table, [gone(key, 1) for key in range(20)])
    assert [file.rows for file in table.files] == [0]
    assert follow(table, [named(1, 2)]).counts.inserted == 1
    assert [file.rows for file in table.files] == [1]


def test_an_increment_without_records_changes_nothing(tmp_path: Path) -> None:
    table = table_of(tmp_path, 20, 20)
    assert follow(table, []).added == ()
    assert table.merge([]).added == ()


def test_many_small_increments_leave_few_files(tmp_path: Path) -> None:
    table = table_of(tmp_path, 10, 10, file_bytes=6_000)
    for number in range(50):
        follow(
            table, [named(100 + number * 20 + each, 1, f"{number}-{each}") for each in range(20)]
        )
    total = sum(file.bytes for file in table.files)
    assert len(table.files) <= 2 * total / 6_000 + 1
    assert max(file.bytes for file in table.files) < 1.5 * 6_000


def test_new_rows_that_are_many_become_files_of_separate_keys(tmp_path: Path) -> None:
    table = table_of(tmp_path, 1_000, 500, file_bytes=4_000)
    merged = follow(table, [named(5_000 - key, 1, str(key)) for key in range(2_000)])
    assert len(merged.added) > 2
    assert _lie_apart(merged.added)


def test_a_row_that_the_log_does_not_know_of_fails_the_merge(tmp_path: Path) -> None:
    table = table_of(tmp_path, 10, 10)
    file = table.files[0]
    table.files = [BaseFile(file.path, 11, file.bytes, file.key_min, file.key_max)]
    path = increment(tmp_path / "increment.parquet", NAMES, [named(3, 1)])
    with pytest.raises(LakeError, match="should have 11 rows, 10 were written"):
        table.merge([path])
    assert not list((tmp_path / "work-1").glob("*.parquet"))


def test_a_key_that_the_table_holds_twice_fails_the_merge(tmp_path: Path) -> None:
    table = Table(tmp_path, NAMES)
    table.begin([named(1), named(1), named(2)], 3)
    path = increment(tmp_path / "increment.parquet", NAMES, [named(1, 1)])
    with pytest.raises(LakeError, match="more than once"):
        table.merge([path])


def test_a_merge_that_fails_half_way_leaves_the_base_as_it_was(tmp_path: Path) -> None:
    table = table_of(tmp_path, 100, 10, file_bytes=600)
    before = {f.path: hashlib.sha256(f.path.read_bytes()).digest() for f in table.files}
    broken = table.files[-1]
    whole = broken.path.read_bytes()
    broken.path.write_bytes(b"\0" * 50 + whole[50:])
    path = increment(tmp_path / "increment.parquet", NAMES, [named(5, 1), named(95, 1)])
    with pytest.raises(LakeError, match="cannot be merged"):
        table.merge([path])
    broken.path.write_bytes(whole)
    after = {f.path: hashlib.sha256(f.path.read_bytes()).digest() for f in table.files}
    assert after == before
    assert not list((tmp_path / "work-1").glob("*.parquet"))
    table.merge([path])
    table.apply([named(5, 1), named(95, 1)])
    table.check()


def test_new_files_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    merged = follow(table_of(tmp_path, 10, 10), [named(5, 1)])
    assert merged.changes is not None
    files = [*(file.path for file in merged.added), merged.changes.path]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_columns_that_came_and_went_and_grew_wider(tmp_path: Path) -> None:
    old = shape({"small": INT16, "real": FLOAT, "sum": decimal(3, 1), "left": STRING})
    new = shape({"small": INT64, "real": DOUBLE, "sum": decimal(9, 4), "more": INT32}, version=2)
    table = Table(tmp_path, old, file_bytes=600)
    rows = [
        {"id": k, "small": k - 9, "real": k / 4, "sum": k, "left": str(k), "meta_ts": at(0)}
        for k in range(20)
    ]
    table.begin(rows, 10)
    records: list[Row] = [
        {"id": 3, "small": 1 << 40, "real": 0.1, "sum": 7, "more": 5, "meta_ts": at(1)},
        {"id": 30, "small": None, "real": None, "sum": None, "more": None, "meta_ts": at(1)},
    ]
    path = increment(tmp_path / "increment.parquet", new, records)
    table.apply(records)
    both = merged_shape(old, new)
    merged = table.merge([path], both)
    assert len(merged.removed) == 2
    for file in merged.added:
        verified_footer(file.path, both)
    table.check()


def test_a_column_that_was_added_rewrites_no_other_file(tmp_path: Path) -> None:
    table = table_of(tmp_path, 20, 10, file_bytes=600)
    new = shape({"name": STRING, "more": INT32}, version=2)
    record: Row = {"id": 3, "name": "new", "more": 5, "meta_ts": at(1)}
    table.apply([record])
    merged = table.merge([increment(tmp_path / "i.parquet", new, [record])], new)
    assert len(merged.removed) == 1
    table.check()


def test_nested_values_arrive_as_they_are(tmp_path: Path) -> None:
    nested = shape(
        {"who": object_of(name=STRING, age=INT32), "tags": list_of(STRING), "free": JSON}
    )
    table = Table(tmp_path, nested)
    rows: list[Row] = [
        {"id": 1, "who": {"name": "a\0b", "age": None}, "tags": [], "meta_ts": at(0)},
        {
            "id": 2,
            "who": None,
            "tags": ["x", None, ""],
            "free": '{"a": [1, null]}',
            "meta_ts": at(0),
        },
        {"id": 3, "who": {"name": "", "age": -1}, "tags": None, "free": "null", "meta_ts": at(0)},
    ]
    table.begin(rows, 3)
    follow(table, [{**rows[0], "meta_ts": at(1)}, {**rows[2], "id": 4}])


@pytest.mark.slow
def test_a_table_and_an_increment_larger_than_the_memory_are_merged(tmp_path: Path) -> None:
    body = "repeat(md5(id::VARCHAR) || md5((id + 1)::VARCHAR), 8)"
    source = f"SELECT id, {body} AS name, make_timestamptz(%s) AS meta_ts FROM range(%s, %s) r(id)"
    table = Table(tmp_path, NAMES, memory="200MB")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for number in range(4):
            first = number * 150_000
            path = tmp_path / f"base-{number}.parquet"
            query = source % (0, first, first + 150_000)
            connection.execute(f"COPY ({query}) TO '{path}' (ROW_GROUP_SIZE 16384)").fetchall()
            low, high = {"id": first}, {"id": first + 149_999}
            table.files.append(BaseFile(path, 150_000, path.stat().st_size, low, high))
        path = tmp_path / "increment.parquet"
        query = source % (1_000_000, 300_000, 900_000)
        copied = (
            f"SELECT *, if(id % 7 = 0, 'D', 'U') AS meta_action FROM ({query}) ORDER BY hash(id)"
        )
        connection.execute(f"COPY ({copied}) TO '{path}' (ROW_GROUP_SIZE 16384)").fetchall()
    merged = table.merge([path])
    deleted, passed = (len([k for k in r if k % 7 == 0]) for r in _spans())
    assert counted(merged) == {
        "inserted": 300_000 - passed,
        "updated": 300_000 - deleted,
        "deleted": deleted,
        "unchanged": passed,
    }
    assert sum(file.rows for file in table.files) == 900_000 - deleted - passed


def _spans() -> tuple[range, range]:
    return range(300_000, 600_000), range(600_000, 900_000)


def test_clustering_keeps_every_row_and_parts_the_keys(tmp_path: Path) -> None:
    table = Table(tmp_path, NAMES, file_bytes=4_000)
    rows = [named((key * 7_919) % 3_001, 0, str(key)) for key in range(3_001)]
    table.begin(rows, 1_000)
    files = [WrittenFile(f.path, f.rows, f.bytes, f.key_min, f.key_max) for f in table.files]
    work = tmp_path / "work"
    clustered = cluster(
        files, NAMES, work=work, options=table.options(work / "spill"), file_bytes=4_000
    )
    table.swap(Merged(clustered, tuple(table.files), None, table.merge([]).counts))
    table.check()
    assert len(clustered) > 2
    assert _lie_apart(clustered)


def _lie_apart(files: Sequence[WrittenFile]) -> bool:
    groups = overlapping(files, "id")
    return all(len(group) == 1 for group in groups)


def test_small_tables_ordered_ones_and_those_of_uuids_are_not_clustered(tmp_path: Path) -> None:
    file = base_file(tmp_path / "a.parquet", NAMES, [named(1), named(9)])
    large = WrittenFile(file.path, 2, 150 << 20, {"id": 1}, {"id": 9})
    later = WrittenFile(file.path, 2, 150 << 20, {"id": 10}, {"id": 19})
    assert worth_clustering([large, large], NAMES)
    assert not worth_clustering([large], NAMES)
    assert not worth_clustering([large, later], NAMES)
    texts = shape({"name": STRING}, {"id": STRING})
    assert not worth_clustering([large, large], texts)


def test_a_file_that_is_much_too_large_is_taken_apart_by_clustering(tmp_path: Path) -> None:
    # A part of DAP's may have any size, and its file would be written anew at each change.
    file = base_file(tmp_path / "a.parquet", NAMES, [named(1), named(9)])
    assert worth_clustering([WrittenFile(file.path, 2, 300 << 20, {"id": 1}, {"id": 9})], NAMES)
    table = Table(tmp_path, NAMES)
    table.begin([named(key, 0, str(key)) for key in range(3_000)], 3_000)
    files = [WrittenFile(f.path, f.rows, f.bytes, f.key_min, f.key_max) for f in table.files]
    work = tmp_path / "work"
    options = table.options(work / "spill")
    clustered = cluster(files, NAMES, work=work, options=options, file_bytes=4_000)
    table.swap(Merged(clustered, tuple(table.files), None, table.merge([]).counts))
    table.check()
    assert len(clustered) > 2
    assert _lie_apart(clustered)


def test_the_changes_are_those_of_the_keys(tmp_path: Path) -> None:
    merged = follow(table_of(tmp_path, 5, 5), [named(1, 3), gone(2, 4), named(9, 5), named(3, 0)])
    assert merged.changes is not None
    found = {
        r["id"]: (r["change"], r["meta_ts"]) for r in pq.read_table(merged.changes.path).to_pylist()
    }
    assert found == {1: ("update", at(3)), 2: ("delete", at(4)), 9: ("insert", at(5))}
    assert merged.changes.rows == 3


def test_the_bounds_of_a_snapshot_file_are_used(tmp_path: Path) -> None:
    tidy(tmp_path / "unreadable.parquet", NAMES, [named(50)])
    (tmp_path / "unreadable.parquet").write_bytes(b"no Parquet")
    table = table_of(tmp_path, 10, 10, file_bytes=600)
    far = BaseFile(tmp_path / "unreadable.parquet", 1, 5_000, {"id": 50}, {"id": 60})
    table.files.append(far)
    path = increment(tmp_path / "increment.parquet", NAMES, [named(5, 1), named(70, 1)])
    assert far not in table.merge([path]).removed
