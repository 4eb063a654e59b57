"""Rows: from which size on it pays to put the rows of a snapshot in the order of their keys."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Bench, Figure, Measured, Row, Taken, row
from benchmarks.increments import merge_once
from benchmarks.increments_data import Base, make_base, make_increment
from benchmarks.lake_parts import shape
from dap_pipeline.lake.duck import RewriteOptions, connect
from dap_pipeline.lake.merging.clustering import cluster
from dap_pipeline.lake.merging.merge import BaseFile
from dap_pipeline.lake.merging.write import write_file
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.sql import literals

_SHARE = 0.001


@row("clustering", order=530)
def clustering(bench: Bench) -> Row:
    """Take tables of 2, 4 and 8 files, cluster them, and refresh them both ways."""
    taken: list[Measured] = []
    figures: list[Figure] = []
    for files in (2, 4, 8):
        folder = bench.disk / str(files)
        ordered = make_base(folder / "base", files)
        size = f"{ordered.bytes / 1e6:.0f} MB"
        options = RewriteOptions("1GB", 2, folder / "spill")
        mixed = _mixed(ordered, files, folder, options)
        increment = folder / "increment.parquet"
        make_increment(increment, ordered, _SHARE, recent=True)
        began = time.perf_counter(), time.process_time()
        in_order = cluster(mixed, shape(), work=folder / "clustered", options=options)
        cost = _since(began)
        with_it = _refresh(in_order, increment, folder / "with")
        without = _refresh(mixed, increment, folder / "without")
        taken += [
            Measured(f"clustering {size}", cost.seconds, cost.cpu_seconds, 0.0),
            Measured(f"a refresh of {size}, clustered", with_it.seconds, with_it.cpu_seconds, 0.0),
            Measured(f"a refresh of {size}, mixed", without.seconds, without.cpu_seconds, 0.0),
        ]
        saved = without.cpu_seconds - with_it.cpu_seconds
        figures.append(
            Figure.of_value(f"refreshes until it pays, {size}", cost.cpu_seconds / saved, "")
        )
    return Row(
        f"clustering a snapshot by key, then refreshes of {_SHARE:.1%} recent rows",
        taken,
        figures,
        1,
        note="by processor time. Schedules take six increments a day, and a snapshot in 30 days.",
    )


def _mixed(base: Base, count: int, folder: Path, options: RewriteOptions) -> list[WrittenFile]:
    """Write the rows anew so that each file has keys of the whole table."""
    source = f"read_parquet({literals([str(file.path) for file in base.files])})"
    folder = folder / "mixed"
    folder.mkdir()
    with connect(options) as connection:
        return [
            write_file(
                connection,
                f"SELECT * FROM {source} WHERE hash(id) % {count} = {number}",
                shape(),
                folder / f"{number}.parquet",
                rows=connection.execute(
                    f"SELECT count(*) FROM {source} WHERE hash(id) % {count} = {number}"
                ).fetchall()[0][0],
            )
            for number in range(count)
        ]


def _refresh(files: Sequence[WrittenFile], increment: Path, work: Path) -> Taken:
    base = [BaseFile(f.path, f.rows, f.bytes, f.key_min, f.key_max) for f in files]
    began = time.perf_counter(), time.process_time()
    merge_once(base, increment, work)
    return _since(began)


def _since(began: tuple[float, float]) -> Taken:
    return Taken(time.perf_counter() - began[0], time.process_time() - began[1])
