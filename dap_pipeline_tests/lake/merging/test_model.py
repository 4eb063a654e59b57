"""Random increments against a table in a dictionary."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.merging.merge import Merged, changes_shape
from dap_pipeline_tests.lake.making import DOUBLE, INT32, INT64, STRING, shape
from dap_pipeline_tests.lake.merging.tables import Row, Table, at, counted, increment

OF_INTEGERS = shape({"name": STRING, "points": DOUBLE})
OF_TEXTS = shape({"name": STRING, "points": DOUBLE}, {"id": STRING})
COMPOSITE = shape({"name": STRING, "points": DOUBLE}, {"course": INT64, "place": STRING})
WITH_TAKEN_NAMES = shape(
    {"name": STRING, "points": DOUBLE, "slot": STRING},
    {"origin": INT32, "place": INT64, "change": STRING},
)
TEXTS = st.sampled_from(["", "a", "A", "b\0c", "ä", "zz", "9", "10", "'"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.none() | TEXTS,
    "points": st.none()
    | st.sampled_from([0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan")]),
    "slot": st.none() | TEXTS,
    "more": st.none() | st.integers(-9, 9),
    "meta_ts": st.integers(0, 12).map(at),
}


def _rows(table: TableShape, action: bool) -> st.SearchStrategy[list[Row]]:
    keys = {
        name: TEXTS if table.column(name).duckdb_type == "VARCHAR" else st.integers(-5, 15)
        for name in table.key
    }
    fields = {column.name: VALUES[column.name] for column in table.columns if column.name in VALUES}
    if action:
        upsert = st.fixed_dictionaries({**keys, **fields, "meta_action": st.just("U")})
        ts = {"meta_ts": VALUES["meta_ts"], "meta_action": st.just("D")}
        return st.lists(
            st.one_of(upsert, upsert, st.fixed_dictionaries({**keys, **ts})), max_size=12
        )
    row = st.fixed_dictionaries({**keys, **fields})
    return st.lists(row, max_size=25, unique_by=lambda row: tuple(row[n] for n in table.key))


@dataclass(frozen=True)
class _Step:
    """One increment: its records, by parts, and the columns of the table from then on."""

    shape: TableShape
    parts: list[list[Row]]


def _version(table: TableShape, number: int) -> TableShape:
    """Add a column in version 1, and widen it in version 2."""
    if not number:
        return table
    more = shape({"more": INT32 if number == 1 else INT64}).column("more")
    return replace(table, columns=(*table.columns[:-1], more, table.columns[-1]))


@st.composite
def _histories(draw: st.DrawFn) -> tuple[TableShape, list[Row], list[_Step]]:
    table = draw(st.sampled_from([OF_INTEGERS, OF_TEXTS, COMPOSITE, WITH_TAKEN_NAMES]))
    steps = []
    for number in sorted(draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))):
        now = _version(table, number)
        parts = draw(st.lists(_rows(now, action=True), min_size=1, max_size=2))
        steps.append(_Step(now, parts))
    return table, draw(_rows(table, action=False)), steps


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_histories(), st.integers(1, 30), st.sampled_from([700, 1_500, 4_000, 64 << 20]))
def test_a_table_follows_its_increments(
    history: tuple[TableShape, list[Row], list[_Step]], per_file: int, file_bytes: int
) -> None:
    shape_, rows, steps = history
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder), shape_, file_bytes=file_bytes)
        table.begin(rows, per_file)
        for number, step in enumerate(steps):
            paths = [
                increment(Path(folder) / f"{number}-{part}.parquet", step.shape, records)
                for part, records in enumerate(step.parts)
            ]
            before = dict(table.truth)
            counts = table.apply([record for records in step.parts for record in records])
            merged = table.merge(paths, step.shape)
            assert counted(merged) == counts
            table.check()
            _check_changes(merged, before, table)
            again = table.merge(paths)
            assert (again.counts.inserted, again.counts.updated, again.counts.deleted) == (0, 0, 0)
            assert again.changes is None
            table.check()


def _check_changes(merged: Merged, before: dict[tuple[Any, ...], Row], table: Table) -> None:
    """Follow from the dictionary before and after which keys must have changed."""
    rows = [] if merged.changes is None else pq.read_table(merged.changes.path).to_pylist()
    found = {table.key_of(row): row for row in rows}
    column = changes_shape(table.shape).columns[-2].name
    after = table.truth
    wanted = {}
    for key in before.keys() | after.keys():
        if key not in before:
            wanted[key] = ("insert", after[key]["meta_ts"])
        elif key not in after:
            wanted[key] = ("delete", found[key]["meta_ts"])
        elif before[key] is not after[key]:
            wanted[key] = ("update", after[key]["meta_ts"])
    assert {key: (row[column], row["meta_ts"]) for key, row in found.items()} == wanted
