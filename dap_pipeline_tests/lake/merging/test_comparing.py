from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dap_pipeline.errors import StorageError
from dap_pipeline.lake import versions
from dap_pipeline.lake.columns import Mask, TableShape
from dap_pipeline.lake.duck import RewriteOptions
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.merging.comparing import can_be_read, cannot_compare, compare
from dap_pipeline.lake.merging.plan import ChangeCounts
from dap_pipeline.lake.records import LoadKind, LoadMode
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline_tests.lake.following import USERS, Follower, rows_of, settings_for
from dap_pipeline_tests.lake.making import INT16, INT64, STRING, shape

from .tables import at, tidy

NOTICED = at(1_000)
Rows = Mapping[tuple[int, str], int]

_KEYS = st.tuples(st.integers(0, 6), st.sampled_from(["", "a", "A", "ä", "'"]))
_ROWS = st.dictionaries(_KEYS, st.integers(0, 3), max_size=25)


def composite() -> TableShape:
    return shape({"a": STRING}, key={"id": INT64, "part": STRING})


def written(path: Path, rows: Rows) -> Path:
    values: list[dict[str, Any]] = [
        {"id": key, "part": part, "a": "x", "meta_ts": at(second)}
        for (key, part), second in rows.items()
    ]
    return tidy(path, composite(), values)


@given(before=_ROWS, after=_ROWS)
def test_each_key_is_told_as_a_model_tells_it(before: Rows, after: Rows) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        compared = compare(
            [written(work / "before.parquet", before)],
            [written(work / "after.parquet", after)],
            shape=composite(),
            at=NOTICED,
            work=work / "work",
            options=RewriteOptions("200MB", 1, work / "spill"),
        )
        told = {key: ("insert", at(after[key])) for key in after.keys() - before.keys()}
        told |= dict.fromkeys(before.keys() - after.keys(), ("delete", NOTICED))
        both = before.keys() & after.keys()
        told |= {k: ("update", at(after[k])) for k in both if before[k] != after[k]}
        files = () if compared.changes is None else (str(compared.changes.path),)
        found = {(key, part): tuple(rest) for key, part, *rest in rows_of(files)}
        assert {k: (what, _utc(when)) for k, (what, when) in found.items()} == told
        counted = [what for what, _ in told.values()]
        assert compared.counts == ChangeCounts(
            counted.count("insert"),
            counted.count("update"),
            counted.count("delete"),
            sum(before[key] == after[key] for key in both),
        )


def _utc(instant: Any) -> Any:
    return instant.astimezone(NOTICED.tzinfo)


def test_versions_without_files_are_compared_too(tmp_path: Path) -> None:
    one = written(tmp_path / "one.parquet", {(1, "a"): 1})
    options = RewriteOptions("200MB", 1, tmp_path / "spill")
    for before, after, counts in (
        ([], [one], ChangeCounts(1, 0, 0, 0)),
        ([one], [], ChangeCounts(0, 0, 1, 0)),
        ([], [], ChangeCounts(0, 0, 0, 0)),
    ):
        compared = compare(
            before, after, shape=composite(), at=NOTICED, work=tmp_path / "work", options=options
        )
        assert compared.counts == counts
        assert (compared.changes is None) == (counts == ChangeCounts(0, 0, 0, 0))


def test_an_instant_that_is_missing_is_like_another_that_is_missing(tmp_path: Path) -> None:
    rows = [{"id": 1, "part": "a"}, {"id": 2, "part": "a", "meta_ts": at(1)}]
    before = tidy(tmp_path / "before.parquet", composite(), rows)
    after = tidy(tmp_path / "after.parquet", composite(), [rows[0], {"id": 2, "part": "a"}])
    compared = compare(
        [before],
        [after],
        shape=composite(),
        at=NOTICED,
        work=tmp_path / "work",
        options=RewriteOptions("200MB", 1, tmp_path / "spill"),
    )
    assert compared.counts == ChangeCounts(0, 1, 0, 1)


def test_versions_of_other_keys_or_masks_are_not_compared() -> None:
    one = shape({"a": STRING}, key={"id": INT64})
    assert cannot_compare(one, one, remasked=True) == ""
    other = shape({"a": STRING}, key={"id": INT64, "part": STRING})
    assert cannot_compare(one, other, remasked=False) == "its key is another one than before"
    text = shape({"a": STRING}, key={"id": STRING})
    assert cannot_compare(one, text, remasked=False) == "its key has another type than before"
    masked = _masked(text)
    words = "its key is masked otherwise than before"
    assert cannot_compare(text, masked, remasked=True) == words
    assert cannot_compare(masked, masked, remasked=True) == words
    assert cannot_compare(masked, masked, remasked=False) == ""


def _masked(table: TableShape) -> TableShape:
    columns = tuple(
        dataclasses.replace(column, masked=Mask.HASH) if column.name in table.key else column
        for column in table.columns
    )
    return dataclasses.replace(table, columns=columns)


@pytest.fixture
def follower(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Follower]:
    with Engine.open(settings_for(sandbox, tmp_path)) as engine:
        yield Follower(sandbox, engine)


def test_a_snapshot_in_place_of_another_version_tells_what_it_changed(follower: Follower) -> None:
    follower.load()
    follower.change("insert", 3)
    follower.load()
    for what in ("insert", "update", "delete"):
        follower.change(what, 2)
    before = follower.table()
    result = follower.load(LoadMode.SNAPSHOT)
    load = follower.check().load
    assert load.kind is LoadKind.SNAPSHOT
    assert result.counts == load.counts
    counts = load.counts
    assert counts is not None
    assert counts.inserted - counts.deleted == result.table.rows - before.rows
    assert counts.inserted + counts.updated + counts.unchanged == result.table.rows
    old = dict(rows_of(before.files, "id, meta_ts"))
    new = dict(rows_of(result.table.files, "id, meta_ts"))
    wanted = {key: ("insert", new[key]) for key in new.keys() - old.keys()}
    wanted |= dict.fromkeys(old.keys() - new.keys(), ("delete", load.at))
    wanted |= {k: ("update", new[k]) for k in new.keys() & old.keys() if new[k] != old[k]}
    assert {what for what, _ in wanted.values()} == {"insert", "update", "delete"}
    told = rows_of(
        follower.engine.lake.changes(USERS), "id, change, meta_ts, load_version, load_since"
    )
    of_load = {row[0]: row[1:3] for row in told if row[3] == load.version}
    assert of_load == wanted
    assert {row[4] for row in told if row[3] == load.version} == {None}


def test_a_snapshot_that_brings_the_same_rows_records_no_change(follower: Follower) -> None:
    follower.load()
    follower.change("update", 2)
    follower.load()
    result = follower.load(LoadMode.SNAPSHOT)
    assert result.table.load.kind is LoadKind.SNAPSHOT
    assert result.counts == ChangeCounts(0, 0, 0, result.table.rows)
    told = rows_of(follower.engine.lake.changes(USERS), "load_version")
    assert {version for (version,) in told} == {1}


def test_what_is_wrong_with_the_snapshot_itself_still_stops_it(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower.load()
    follower.change("insert", 3)
    follower.load()

    def fails(*_: object, **__: object) -> None:
        raise StorageError("could not write: the disk is full")

    monkeypatch.setattr(versions, "compare", fails)
    with pytest.raises(StorageError, match="the disk is full"):
        follower.load(LoadMode.SNAPSHOT)
    assert follower.table().version == 1
    assert follower.table().load.kind is LoadKind.INCREMENTAL


def test_a_key_that_no_longer_fits_its_type_cannot_be_read(tmp_path: Path) -> None:
    wide = shape({}, key={"id": INT64})
    narrow = shape({}, key={"id": INT16})
    file = tidy(tmp_path / "one.parquet", wide, [{"id": 70_000, "meta_ts": at(1)}])
    options = RewriteOptions("200MB", 1, tmp_path / "spill")
    assert can_be_read([file], wide, options)
    assert not can_be_read([file], narrow, options)
