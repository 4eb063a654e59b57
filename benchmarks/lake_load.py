"""Rows about a table's way from DAP into the lake: how fast, and in how much memory."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders import OURS, timed
from benchmarks.harness import (
    Bench,
    Contender,
    Figure,
    Row,
    Taken,
    Turns,
    at_least,
    at_most,
    row,
    take_turns,
)
from benchmarks.lake_parts import TABLE, make_parts, schema
from benchmarks.service import NAMESPACE, ReadyTable, RunningService, ServiceSpec, running_service
from dap_pipeline.settings import SourceFormat

_ROOT = str(Path(__file__).parent.parent)
_MEMORY = at_most(600, "MB")
# Rows of a part: 62 MB of Parquet, or 66 MB of text.
_ROWS = {SourceFormat.PARQUET: 270_000, SourceFormat.JSONL: 60_000}
_PARTS_OF_A_GB = 16


def load(service: RunningService, data: Path, source: SourceFormat) -> Taken:
    """Load the table into an empty lake and register it."""
    data.mkdir(mode=0o700)
    try:
        what = ["--namespace", NAMESPACE, "--table", TABLE.partition(".")[2]]
        command = [*OURS, "load", *what, "--source-format", source.value]
        return timed(command, service.environment(data), data, service)
    finally:
        shutil.rmtree(data)


def bare(folder: Path, parts: Sequence[Path]) -> Taken:
    """Have DuckDB rewrite the files and do nothing else."""
    folder.mkdir()
    try:
        program = [sys.executable, "-m", "benchmarks.bare_rewrite"]
        files = [str(folder / "bare.parquet"), *map(str, parts)]
        return timed([*program, *files], {"PYTHONPATH": _ROOT}, folder)
    finally:
        shutil.rmtree(folder)


def serving(folder: Path, parts: Sequence[Path]) -> ServiceSpec:
    """Describe a service that has the parts ready."""
    known = schema()
    table = ReadyTable(
        TABLE.partition(".")[2],
        tuple(map(str, parts)),
        schema=known.json_schema,
        version=known.version,
    )
    return ServiceSpec(folder, (table,))


def _parts(folder: Path, source: SourceFormat, **options: Any) -> list[Path]:
    """Make the parts in a process of its own, which gives all its memory back."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(make_parts, folder, source, **options).result()


def _against_bare(
    bench: Bench, source: SourceFormat, work: str, target: float | None, *, checksums: bool = True
) -> Row:
    parts = _parts(
        bench.disk / "parts",
        source,
        parts=_PARTS_OF_A_GB,
        rows=_ROWS[source],
        checksums=checksums,
    )
    with running_service(serving(bench.disk / "service", parts)) as service:
        turns = take_turns(
            [
                Contender("load", lambda: load(service, bench.disk / "data", source)),
                Contender("bare DuckDB", lambda: bare(bench.disk / "bare", parts)),
            ],
            bench.rounds(5),
        )
    return Row(
        work,
        turns.contenders,
        [turns.ratio("load", "bare DuckDB", None if target is None else at_least(target))],
        turns.rounds,
        turns.service_share,
        "`load` is the whole command: job, download, checks, rewrite, commit, view. Bare DuckDB "
        "reads the local files and writes one Parquet file, with the fastest options found.",
    )


@row("lake-parquet", order=200)
def lake_parquet(bench: Bench) -> Row:
    """Bring 1 GB of Parquet, as Spark writes it, from the service into the lake."""
    work = "1 GB of Parquet parts to published Parquet and view"
    return _against_bare(bench, SourceFormat.PARQUET, work, 0.8)


@row("lake-parquet-decoded", order=205)
def lake_parquet_decoded(bench: Bench) -> Row:
    """Do the same where the pages have no checksums, so that each is decoded to verify it."""
    work = "the same without checksums of the pages"
    return _against_bare(bench, SourceFormat.PARQUET, work, None, checksums=False)


@row("lake-jsonl", order=210)
def lake_jsonl(bench: Bench) -> Row:
    """Bring 1 GB of JSON Lines, before packing, from the service into the lake."""
    work = "1 GB (unpacked) of JSONL parts to published Parquet and view"
    return _against_bare(bench, SourceFormat.JSONL, work, 0.8)


@dataclass(frozen=True)
class Sized:
    """A table of so many GB: of Parquet, or of text before packing."""

    gigabytes: int
    source: SourceFormat
    checksums: bool = True

    @property
    def name(self) -> str:
        """Say what it is."""
        words = "Parquet" if self.source is SourceFormat.PARQUET else "JSONL"
        return f"{self.gigabytes} GB of {words}" + ("" if self.checksums else " without checksums")


_SIZED = (
    *(Sized(size, SourceFormat.PARQUET) for size in (1, 4, 16)),
    Sized(1, SourceFormat.PARQUET, checksums=False),
    *(Sized(size, SourceFormat.JSONL) for size in (1, 4)),
)


@row("lake-memory", order=220)
def lake_memory(bench: Bench) -> Row:
    """Load tables of several sizes and formats."""
    taken: dict[str, list[Taken]] = {}
    for each in _SIZED:
        # What memory is needed does not depend on what else the machine does: one run tells it.
        taken |= _loaded(bench.disk / "sized", each, bench.rounds(1)).taken
    turns = Turns(taken)
    peaks = [Figure.of_value(e.name, e.peak_mb, "MB", _MEMORY) for e in turns.contenders]
    return Row(
        "memory of a load",
        turns.contenders,
        [*peaks, turns.most_threads(), turns.most_files()],
        turns.rounds,
        turns.service_share,
    )


def _loaded(folder: Path, sized: Sized, rounds: int) -> Turns:
    """Load a table of this size."""
    parts = _parts(
        folder / "parts",
        sized.source,
        parts=sized.gigabytes * _PARTS_OF_A_GB,
        rows=_ROWS[sized.source],
        checksums=sized.checksums,
    )
    with running_service(serving(folder / "service", parts)) as service:
        run = Contender(sized.name, lambda: load(service, folder / "data", sized.source))
        turns = take_turns([run], rounds)
    shutil.rmtree(folder)
    return turns
