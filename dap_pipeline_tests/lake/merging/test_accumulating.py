from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.merging.accumulating import WEB_LOGS, accumulate, accumulating, day_of
from dap_pipeline.lake.merging.merge import Merged
from dap_pipeline_tests.lake.making import INSTANT, INT64, STRING, shape
from dap_pipeline_tests.lake.merging.tables import Row, Table, at, counted, increment, tidy

LOGS = shape({"timestamp": INSTANT, "url": STRING}, {"id": STRING}, required=["timestamp"])
DAY = 86_400


def log(key: str, second: int, commit: int = 0, url: str = "/") -> Row:
    return {"id": key, "timestamp": at(second), "url": url, "meta_ts": at(commit)}


class Logs(Table):
    """A table of logs."""

    def add(self, paths: Sequence[Path]) -> Merged:
        self.merges += 1
        work = self.folder / f"work-{self.merges}"
        merged = accumulate(
            self.files,
            paths,
            WEB_LOGS,
            base_shape=self.shape,
            shape=self.shape,
            work=work,
            options=self.options(work / "spill"),
            file_bytes=self.file_bytes,
        )
        self.swap(merged)
        return merged

    def check_days(self) -> None:
        for file in self.files:
            if file.rows:
                days = {row["timestamp"].date() for row in pq.read_table(file.path).to_pylist()}
                assert len(days) == 1


def test_each_file_holds_one_day_and_says_which(tmp_path: Path) -> None:
    logs = Logs(tmp_path, LOGS)
    rows = [log("a", 5), log("b", DAY - 1), log("c", DAY), log("d", 3 * DAY + 7)]
    counts = logs.apply(rows)
    merged = logs.add([tidy(tmp_path / "snapshot.parquet", LOGS, rows)])
    assert counted(merged) == counts
    logs.check()
    logs.check_days()
    bounds = [(f.key_min["timestamp"], f.key_max["timestamp"]) for f in merged.added]
    assert bounds == [
        ("2024-01-01T00:00:05.000000Z", "2024-01-01T23:59:59.000000Z"),
        ("2024-01-02T00:00:00.000000Z", "2024-01-02T00:00:00.000000Z"),
        ("2024-01-04T00:00:07.000000Z", "2024-01-04T00:00:07.000000Z"),
    ]


def test_instants_before_1970_have_the_right_day(tmp_path: Path) -> None:
    second = -(365 * 60 * DAY) - 1
    logs = Logs(tmp_path, LOGS)
    rows = [log("a", second), log("b", second + 1)]
    logs.apply(rows)
    logs.add([tidy(tmp_path / "snapshot.parquet", LOGS, rows)])
    logs.check()
    logs.check_days()
    assert len(logs.files) == 2


def test_a_snapshot_never_removes_older_rows(tmp_path: Path) -> None:
    logs = Logs(tmp_path, LOGS)
    old, new = [log("a", 5), log("b", DAY)], [log("b", DAY), log("c", 2 * DAY)]
    logs.apply(old)
    logs.add([tidy(tmp_path / "old.parquet", LOGS, old)])
    logs.apply(new)
    merged = logs.add([tidy(tmp_path / "new.parquet", LOGS, new)])
    assert counted(merged) == {"inserted": 1, "updated": 0, "deleted": 0, "unchanged": 1}
    assert merged.removed == ()
    logs.check()
    assert len(logs.files) == 3


def test_repeated_keys_become_one_row(tmp_path: Path) -> None:
    logs = Logs(tmp_path, LOGS)
    rows = [log("a", 5), log("a", 5, url="/later"), log("a", 5), log("b", 6, 2), log("b", 6, 1)]
    logs.apply(rows)
    logs.add([tidy(tmp_path / "snapshot.parquet", LOGS, rows)])
    assert sum(file.rows for file in logs.files) == 2
    logs.check()


def test_only_touched_days_are_written_anew(tmp_path: Path) -> None:
    logs = Logs(tmp_path, LOGS)
    rows = [log(f"{day}", day * DAY) for day in range(10)]
    logs.apply(rows)
    logs.add([tidy(tmp_path / "snapshot.parquet", LOGS, rows)])
    more = [log("new", 3 * DAY + 1, 9), log("7", 7 * DAY, 9)]
    logs.apply(more)
    merged = logs.add([increment(tmp_path / "increment.parquet", LOGS, more)])
    touched = {day_of(file.path, "timestamp") for file in merged.removed}
    first = day_of(tmp_path / "snapshot.parquet", "timestamp")
    assert first is None
    assert len(merged.removed) == 2
    assert len(touched) == 2
    logs.check()


def test_a_deletion_finds_its_row_on_any_day(tmp_path: Path) -> None:
    logs = Logs(tmp_path, LOGS)
    rows = [log(f"{day}", day * DAY) for day in range(4)]
    logs.apply(rows)
    logs.add([tidy(tmp_path / "snapshot.parquet", LOGS, rows)])
    gone: list[Row] = [{"id": "2", "meta_ts": at(9), "meta_action": "D"}]
    assert logs.apply(gone)["deleted"] == 1
    merged = logs.add([increment(tmp_path / "increment.parquet", LOGS, gone)])
    assert merged.counts.deleted == 1
    logs.check()


def test_a_key_that_comes_again_on_the_next_day_stays_one_row(tmp_path: Path) -> None:
    logs = Logs(tmp_path, LOGS)
    logs.apply([log("a", 5), log("b", DAY + 5, 3)])
    logs.add([tidy(tmp_path / "snapshot.parquet", LOGS, list(logs.truth.values()))])
    # An older copy changes nothing, a newer one takes the place of the row.
    again = [log("a", DAY + 1, 9), log("b", 2 * DAY + 7, 2)]
    counts = logs.apply(again)
    merged = logs.add([increment(tmp_path / "increment.parquet", LOGS, again)])
    assert counted(merged) == counts == {"inserted": 0, "updated": 1, "deleted": 0, "unchanged": 1}
    logs.check()
    logs.check_days()


@pytest.mark.parametrize("action", ["U", "D"])
def test_several_rows_of_a_key_become_one_or_none(tmp_path: Path, action: str) -> None:
    logs = Logs(tmp_path, LOGS)
    logs.begin([log("a", 5, 1), log("other", 6), log("a", DAY + 5, 3), log("a", 2 * DAY, 2)], 1)
    record: list[Row] = [{**log("a", DAY, 9), "meta_action": action}]
    counts = logs.apply(record)
    merged = logs.add([increment(tmp_path / "increment.parquet", LOGS, record)])
    assert counted(merged) == counts
    assert merged.changes is not None
    assert merged.changes.rows == 1
    logs.check()
    logs.check_days()


def test_files_that_mix_days_are_split(tmp_path: Path) -> None:
    logs = Logs(tmp_path, LOGS)
    logs.begin([log("a", 5), log("b", DAY), log("c", DAY + 1)], per_file=3)
    more = [log("d", DAY + 2, 9), log("b", DAY, 9, "/new")]
    counts = logs.apply(more)
    merged = logs.add([increment(tmp_path / "increment.parquet", LOGS, more)])
    assert counted(merged) == counts
    logs.check()
    logs.check_days()


_RECORD = st.builds(
    log,
    st.sampled_from([f"{day}{name}" for day in "0123" for name in "abc"]),
    st.just(0),
    st.integers(0, 8),
    st.sampled_from(["/", "/x"]),
)


def _on_its_day(record: Row) -> Row:
    """Give a record the day that its key always has."""
    return {**record, "timestamp": at(int(record["id"][0]) * DAY + 17)}


_RECORDS = st.lists(_RECORD.map(_on_its_day), max_size=15)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.booleans(), _RECORDS), min_size=1, max_size=4),
    _RECORDS,
    st.sampled_from([900, 64 << 20]),
)
def test_logs_follow_random_loads(
    loads: list[tuple[bool, list[Row]]], first: list[Row], file_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        logs = Logs(Path(folder), LOGS, file_bytes=file_bytes)
        logs.begin(list({row["id"]: row for row in first}.values()), per_file=4)
        for number, (is_snapshot, rows) in enumerate(loads):
            path = Path(folder) / f"load-{number}.parquet"
            (tidy if is_snapshot else increment)(path, LOGS, rows)
            counts = logs.apply(rows)
            assert counted(logs.add([path])) == counts
            logs.check()
            logs.check_days()
            again = logs.add([path])
            assert again.changes is None
            logs.check()


def test_only_the_web_logs_accumulate() -> None:
    assert accumulating(TableName("canvas_logs", "web_logs"), LOGS) is WEB_LOGS
    assert accumulating(TableName("canvas", "users"), LOGS) is None
    assert accumulating(TableName("canvas_logs", "web_logs"), shape({"n": INT64})) is None


@pytest.mark.slow
def test_logs_much_larger_than_the_memory_are_added(tmp_path: Path) -> None:
    url = "repeat(md5(id::VARCHAR) || md5((id + 1)::VARCHAR), 8)"
    instant = f"make_timestamptz((id % 3 * {DAY} + id % {DAY}) * 1000000)"
    source = (
        f"SELECT id::VARCHAR AS id, {instant} AS timestamp, {url} AS url,"
        " make_timestamptz(0) AS meta_ts FROM range({}, {}) r(id) ORDER BY hash(id)"
    )
    logs = Logs(tmp_path, LOGS, memory="200MB")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for number, span in enumerate([(0, 400_000), (300_000, 700_000)]):
            path = tmp_path / f"{number}.parquet"
            query = f"COPY ({source.format(*span)}) TO '{path}' (ROW_GROUP_SIZE 16384)"
            connection.execute(query).fetchall()
    first = logs.add([tmp_path / "0.parquet"])
    second = logs.add([tmp_path / "1.parquet"])
    assert counted(first)["inserted"] == 400_000
    assert counted(second) == {
        "inserted": 300_000,
        "updated": 0,
        "deleted": 0,
        "unchanged": 100_000,
    }
    assert sum(file.rows for file in logs.files) == 700_000
    days = [day_of(file.path, "timestamp") for file in logs.files]
    assert set(days) == {0, 1, 2}
