"""Rows: from which size on it pays to put the rows of a snapshot in the order of their keys."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Bench, Contender, Figure, Row, Taken, Turns, row, take_turns
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
    taken: dict[str, list[Taken]] = {}
    figures: list[Figure] = []
    for files in (2, 4, 8):
        folder = bench.disk / str(files)
        ordered = make_base(folder / "base", files)
        size = f"{ordered.bytes / 1e6:.0f} MB"
        case = _Case(ordered, files, folder)
        turns = take_turns(
            [
                Contender(f"clustering {size}", case.cluster),
                Contender(f"a refresh of {size}, clustered", case.refresh_clustered),
                Contender(f"a refresh of {size}, mixed", case.refresh_mixed),
            ],
            bench.rounds(5),
        )
        taken |= turns.taken
        cost, clustered, mixed = (each.cpu_seconds for each in turns.contenders)
        pays = cost / (mixed - clustered)
        figures.append(Figure.of_value(f"refreshes until it pays, {size}", pays, ""))
    turns = Turns(taken)
    return Row(
        f"clustering a snapshot by key, then refreshes of {_SHARE:.1%} recent rows",
        turns.contenders,
        figures,
        turns.rounds,
        note="by processor time. Schedules take six increments a day, and a snapshot in 30 days.",
    )


class _Case:
    """A table whose files have keys of the whole table, the same one clustered, an increment."""

    def __init__(self, ordered: Base, files: int, folder: Path) -> None:
        self._folder = folder
        self._options = RewriteOptions("1GB", 2, folder / "spill")
        self._mixed = _mixed(ordered, files, folder, self._options)
        self._increment = folder / "increment.parquet"
        make_increment(self._increment, ordered, _SHARE, recent=True)
        self._clustered = self._in_order(folder / "in-order")

    def cluster(self) -> Taken:
        """Put the rows in the order of their keys."""
        began = time.perf_counter(), time.process_time()
        self._in_order(self._folder / "clustered")
        taken = _since(began)
        shutil.rmtree(self._folder / "clustered")
        return taken

    def refresh_clustered(self) -> Taken:
        """Merge the increment into the clustered files."""
        return _refresh(self._clustered, self._increment, self._folder / "with")

    def refresh_mixed(self) -> Taken:
        """Merge the increment into the others."""
        return _refresh(self._mixed, self._increment, self._folder / "without")

    def _in_order(self, work: Path) -> Sequence[WrittenFile]:
        return cluster(self._mixed, shape(), work=work, options=self._options)


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
    taken = _since(began)
    shutil.rmtree(work)
    return taken


def _since(began: tuple[float, float]) -> Taken:
    return Taken(time.perf_counter() - began[0], time.process_time() - began[1])
