"""Rows: what a refresh by increment costs, against all else that would bring the same rows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb

from benchmarks.harness import (
    Bench,
    Contender,
    Figure,
    Row,
    Taken,
    at_most,
    row,
    take_turns,
)
from benchmarks.increments_data import Base, make_base, make_increment
from benchmarks.lake_parts import shape
from dap_pipeline.lake.duck import PACKED, RewriteOptions, connect
from dap_pipeline.lake.merging.merge import BaseFile, Merged, merge
from dap_pipeline.lake.sql import literal, literals

_MEMORY, _THREADS = "1GB", 2
_QUERIES = (
    "SELECT workflow_state, count(*), avg(score) FROM {table} GROUP BY ALL",
    "SELECT count(*), sum(length(body)) FROM {table}",
    "SELECT user_id, count(*) AS n FROM {table} GROUP BY ALL ORDER BY n DESC, user_id LIMIT 10",
    "SELECT * FROM {table} WHERE id = {middle}",
)


@dataclass(frozen=True)
class Case:
    """One increment against one base."""

    base: Base
    increment: Path
    folder: Path

    def ours(self) -> Taken:
        """Merge it."""
        work = _fresh(self.folder / "ours")
        return _timed(lambda: merge_once(self.base.files, self.increment, work))

    def by_hand(self) -> Taken:
        """Have DuckDB rewrite the files that are touched, which it is told, unchecked."""
        work = _fresh(self.folder / "hand")
        touched = merge_once(self.base.files, self.increment, work / "first").removed
        shutil.rmtree(work / "first")
        return _timed(lambda: _by_hand([f.path for f in touched], self.increment, work))

    def whole(self) -> Taken:
        """Have DuckDB write all files anew, as a snapshot would, one after the other."""
        work = _fresh(self.folder / "whole")
        return _timed(lambda: _whole([f.path for f in self.base.files], work))


def merge_once(base: Sequence[BaseFile], increment: Path, work: Path) -> Merged:
    """Merge an increment as a load does."""
    return merge(
        base,
        [increment],
        base_shape=shape(),
        shape=shape(),
        work=work,
        options=RewriteOptions(_MEMORY, _THREADS, work / "spill"),
    )


def _by_hand(touched: Sequence[Path], increment: Path, work: Path) -> None:
    new = f"read_parquet({literal(str(increment))})"
    old = f"read_parquet({literals([str(path) for path in touched])})"
    query = (
        f"SELECT o.* FROM {old} o ANTI JOIN {new} n USING (id) UNION ALL"
        f" SELECT * EXCLUDE (meta_action) FROM {new} WHERE meta_action = 'U'"
    )
    _copy(query, work / "hand.parquet", work)


def _whole(paths: Sequence[Path], work: Path) -> None:
    for number, path in enumerate(paths):
        _copy(f"SELECT * FROM read_parquet({literal(str(path))})", work / f"{number}.parquet", work)


def _copy(query: str, target: Path, work: Path) -> None:
    options = f"FORMAT parquet, {PACKED}, ROW_GROUP_SIZE_BYTES '16MB', USE_TMP_FILE false"
    with connect(RewriteOptions(_MEMORY, _THREADS, work / "spill")) as connection:
        connection.execute(f"COPY ({query}) TO {literal(str(target))} ({options})").fetchall()


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _timed(run: Callable[[], object]) -> Taken:
    began, cpu = time.perf_counter(), time.process_time()
    run()
    return Taken(time.perf_counter() - began, time.process_time() - cpu)


def _register(share: float, *, recent: bool, order: int) -> None:
    where = "recent" if recent else "spread"
    name = f"increment-{share:.1%}-{where}".replace(".0%", "%").replace("%", "pct")

    @row(name, order=order)
    def measure(bench: Bench) -> Row:
        base = make_base(bench.disk / "base")
        increment = bench.disk / "increment.parquet"
        records = make_increment(increment, base, share, recent=recent)
        case = Case(base, increment, bench.disk)
        ours, hand, whole = "dap_pipeline", "DuckDB by hand", "DuckDB, all files anew"
        turns = take_turns(
            [
                Contender(ours, case.ours),
                Contender(hand, case.by_hand),
                Contender(whole, case.whole),
            ],
            bench.rounds(5),
        )
        touched = len(merge_once(base.files, increment, _fresh(bench.disk / "count")).removed)
        return Row(
            f"merge {records:,} records ({share:.1%} of {base.rows:,} rows, {base.bytes / 1e9:.2f}"
            f" GB, {len(base.files)} files), {where} keys",
            turns.contenders,
            [
                turns.ratio(hand, ours, at_most(1.3)),
                turns.ratio(ours, whole),
                Figure.of_value("files rewritten", touched, ""),
            ],
            turns.rounds,
            note="By hand: one COPY of the touched files, told which they are, nothing checked.",
        )


for _place, _share in enumerate((0.001, 0.01, 0.1)):
    _register(_share, recent=True, order=500 + _place)
    _register(_share, recent=False, order=510 + _place)


@row("queries-after-increments", order=520)
def queries_after_increments(bench: Bench) -> Row:
    """Query a table after 50 small increments, and the same rows as a snapshot has them."""
    fresh = make_base(bench.disk / "base", 4)
    files: list[BaseFile] = list(fresh.files)
    for number in range(50):
        increment = bench.disk / f"increment-{number}.parquet"
        make_increment(increment, fresh, 0.001, recent=True, seed=number)
        merged = merge_once(files, increment, bench.disk / f"merge-{number}")
        files = [f for f in files if f not in merged.removed]
        files += [BaseFile(f.path, f.rows, f.bytes, f.key_min, f.key_max) for f in merged.added]
    after, before = "after 50 increments", "after a fresh snapshot"
    tables = {after: [f.path for f in files], before: _as_snapshot(files, bench.disk)}
    middle = files[len(files) // 2].key_min["id"]
    contenders = [
        Contender(name, partial(_timed, partial(_query, paths, middle)))
        for name, paths in tables.items()
    ]
    turns = take_turns(contenders, bench.rounds(5))
    return Row(
        f"four queries of {sum(f.rows for f in files):,} rows",
        turns.contenders,
        [
            turns.ratio(before, after, at_most(1.1)),
            Figure.of_value("files after 50 increments", len(files), ""),
            Figure.of_value("files of the snapshot", len(tables[before]), ""),
        ],
        turns.rounds,
    )


def _as_snapshot(files: Sequence[BaseFile], folder: Path) -> list[Path]:
    """Write the same rows as few full files."""
    count = max(1, round(sum(f.bytes for f in files) / (64 << 20)))
    work = _fresh(folder / "snapshot")
    source = f"read_parquet({literals([str(f.path) for f in files])})"
    rows = Base(tuple(files))
    low, high = rows.edge(last=False), rows.edge(last=True)
    paths = []
    for number in range(count):
        begin = low + (high + 1 - low) * number // count
        end = low + (high + 1 - low) * (number + 1) // count
        paths.append(work / f"{number}.parquet")
        _copy(f"SELECT * FROM {source} WHERE id >= {begin} AND id < {end}", paths[-1], work)
    return paths


def _query(paths: Sequence[Path], middle: object) -> None:
    with duckdb.connect(config={"threads": _THREADS}) as connection:
        table = f"read_parquet({literals([str(path) for path in paths])})"
        for query in _QUERIES:
            connection.execute(query.format(table=table, middle=middle)).fetchall()
