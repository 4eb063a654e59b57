"""Rows about bytes from the network: as fast as the machine, and as fast as a network lets."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.contenders import OURS, by_its_own_clock, official_dap, timed
from benchmarks.file_server import Network
from benchmarks.harness import (
    Bench,
    Contender,
    Figure,
    Row,
    Taken,
    Target,
    at_least,
    at_most,
    row,
    take_turns,
)
from benchmarks.samples import part_files, with_checksums
from benchmarks.service import (
    NAMESPACE,
    ReadyTable,
    RunningService,
    ServiceSpec,
    running_service,
)

TABLE = "submissions"
_MB = 1_000_000


class Fetching:
    """Contenders that fetch one table's files into an empty folder."""

    def __init__(self, bench: Bench, service: RunningService) -> None:
        self._service = service
        self._folder = bench.scratch / "run"
        self._data = bench.scratch / "data"

    def ours(self, *options: str, format: str = "jsonl") -> Taken:
        """Run `dap-pipeline snapshot`."""
        return self._timed([*OURS, "snapshot", *self._what(format), *options])

    def official(self) -> Taken:
        """Run `dap snapshot`."""
        return self._timed([official_dap(), "--no-tracking", "snapshot", *self._what()])

    def plain(self, connections: int = 16) -> Taken:
        """Run plain threads."""
        program = [sys.executable, "-m", "benchmarks.plain_requests"]
        return self._timed([*program, TABLE, str(self._folder), str(connections)])

    def drained(self, connections: int = 16) -> Taken:
        """Run plain sockets that drop what they get, which tells how fast the service can send."""
        program = [sys.executable, "-m", "benchmarks.plain_sockets"]
        return self._timed([*program, TABLE, str(connections)], own_clock=True)

    def _what(self, format: str = "jsonl") -> list[str]:
        to = ["--output-directory", str(self._folder)]
        return ["--namespace", NAMESPACE, "--table", TABLE, "--format", format, *to]

    def _timed(self, command: Sequence[str], *, own_clock: bool = False) -> Taken:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        environment = self._service.environment(self._data)
        taken = timed(command, environment, self._folder, self._service)
        if own_clock:
            taken = by_its_own_clock(taken, self._folder)
        shutil.rmtree(self._folder)
        return taken


def random_files(folder: Path, count: int, size: int) -> tuple[str, ...]:
    """Write files of random bytes that begin as gzip does."""
    folder.mkdir()
    block = os.urandom(1 << 24)
    for number in range(count):
        with (folder / f"part-{number:05d}.jsonl.gz").open("wb") as file:
            file.write(b"\x1f\x8b")
            left = size - 2
            while left > 0:
                left -= file.write(block[:left])
    return tuple(str(path) for path in sorted(folder.iterdir()))


def serving(bench: Bench, files: Sequence[str], network: Network) -> ServiceSpec:
    """Describe a service with one table of these files."""
    table = ReadyTable(TABLE, tuple(files))
    return ServiceSpec(bench.scratch / "service", (table,), network=network)


@row("raw-download", order=50)
def raw_download(bench: Bench) -> Row:
    """Fetch 3 GB that need no network, and see how fast the service could send them."""
    files = random_files(bench.scratch / "files", 16, 3_000 * _MB // 16)
    with running_service(serving(bench, files, Network())) as service:
        fetching = Fetching(bench, service)
        # Memory that a virtual machine has never used comes slowly: whoever is first would pay.
        fetching.plain()
        turns = take_turns(
            [
                Contender("snapshot", lambda: fetching.ours("--verify", "size")),
                Contender("official client", fetching.official),
                Contender("plain threads", fetching.plain),
                Contender("service alone", fetching.drained),
            ],
            bench.rounds(5),
        )
    return Row(
        "raw download, 16 files, 3 GB, loopback to memory, `--verify size`",
        turns.contenders,
        [
            turns.ratio("snapshot", "official client", at_least(2.5)),
            turns.ratio("snapshot", "plain threads", at_least(0.9)),
            Figure.of_value("snapshot", 3000 / turns.seconds("snapshot"), "MB/s"),
            Figure.of_value(
                "what the service can send", 3000 / turns.seconds("service alone"), "MB/s"
            ),
        ],
        turns.rounds,
        # Alone, it takes what it can get.
        turns.without("service alone").service_share,
        "the times are those of whole commands, from the start of their processes to the end; "
        "only the service alone is timed from the first request for a file to the last byte, and "
        "plain sockets drop what it sends.",
    )


_ROWS = [300_000, 380_000, 460_000, 540_000, 620_000]
_LINES = [300_000, 400_000, 500_000]
_LITTLE = at_most(5, "%")


@row("verify-parquet", order=60)
def verify_parquet(bench: Bench) -> Row:
    """Decode Parquet while it arrives."""
    files = part_files(bench.scratch / "files", ".parquet", _ROWS, 56)
    return _decoding(
        bench, files, "parquet", "Parquet without checksums, 56 files of several sizes"
    )


@row("verify-parquet-equal", order=60)
def verify_parquet_equal(bench: Bench) -> Row:
    """Check Parquet as Spark writes it, where each connection has one file and all end at once."""
    files = part_files(bench.scratch / "files", ".parquet", [3_000_000], 16)
    words = "Parquet, 16 equal files that end at once, with checksums of the pages"
    return _decoding(bench, with_checksums(files), "parquet", words)


@row("verify-parquet-equal-decoded", order=61)
def verify_parquet_equal_decoded(bench: Bench) -> Row:
    """Do the same without checksums: nothing can be decoded before the footer, at the very end."""
    files = part_files(bench.scratch / "files", ".parquet", [3_000_000], 16)
    words = "Parquet without checksums, 16 equal files that end at once"
    return _decoding(bench, files, "parquet", words, wanted=None)


@row("verify-gzip", order=62)
def verify_gzip(bench: Bench) -> Row:
    """Decode gzip text while it arrives."""
    files = part_files(bench.scratch / "files", ".jsonl.gz", _LINES, 72)
    return _decoding(bench, files, "jsonl", "gzip text, 72 files of several sizes")


@row("verify-gzip-equal", order=63)
def verify_gzip_equal(bench: Bench) -> Row:
    """Decode gzip text where each connection has one file and all of them end at once."""
    files = part_files(bench.scratch / "files", ".jsonl.gz", [3_150_000], 16)
    return _decoding(bench, files, "jsonl", "gzip text, 16 equal files that end at once")


def _decoding(
    bench: Bench,
    files: Sequence[str],
    format: str,
    words: str,
    wanted: Target | None = _LITTLE,
) -> Row:
    """Tell what decoding adds to a download at 200 MB/s."""
    size = sum(Path(file).stat().st_size for file in files) / _MB
    network = Network(bytes_per_second=12.5 * _MB)
    with running_service(serving(bench, files, network)) as service:
        fetching = Fetching(bench, service)
        turns = take_turns(
            [
                Contender(each, partial(fetching.ours, "--verify", each, format=format))
                for each in ("full", "size")
            ],
            bench.rounds(5),
        )
    added = 100 * (turns.times_as_long("full", "size") - 1)
    return Row(
        f"`--verify full`, {words}, {size / 1000:.1f} GB, 16 connections of 12.5 MB/s",
        turns.contenders,
        [
            Figure.of_value("time added by decoding", added, "%", wanted),
            Figure.of_value("with decoding", size / turns.seconds("full"), "MB/s"),
        ],
        turns.rounds,
        turns.service_share,
    )


@row("slow-connections", order=80)
def slow_connections(bench: Bench) -> Row:
    """Fetch over connections that are slow, so that their number counts."""
    files = random_files(bench.scratch / "files", 16, 60 * _MB)
    network = Network(bytes_per_second=20 * _MB, delay=0.05)
    with running_service(serving(bench, files, network)) as service:
        fetching = Fetching(bench, service)
        turns = take_turns(
            [
                Contender("snapshot", lambda: fetching.ours("--verify", "size")),
                Contender("official client", fetching.official),
            ],
            bench.rounds(5),
        )
    return Row(
        "20 MB/s per connection, 50 ms per request, 16 files of 60 MB",
        turns.contenders,
        [turns.ratio("snapshot", "official client", at_least(3))],
        turns.rounds,
        turns.service_share,
    )


@row("small-files", order=40)
def small_files(bench: Bench) -> Row:
    """Fetch 450 small files under the documented limits."""
    files = random_files(bench.scratch / "files", 450, 2000)
    calls: dict[str, int] = {}

    def counted(name: str) -> Taken:
        # A service of its own for each: the limits of one must not bind the other.
        spec = serving(bench, files, Network())
        spec = ServiceSpec(spec.folder / name, spec.tables, limits=True)
        shutil.rmtree(spec.folder, ignore_errors=True)
        with running_service(spec) as service:
            fetching = Fetching(bench, service)
            taken = fetching.official() if name == "official" else fetching.ours("--verify", "size")
            calls[name] = service.requests()["object_url"]
        return taken

    turns = take_turns(
        [
            Contender("snapshot", lambda: counted("ours")),
            Contender("official client", lambda: counted("official")),
        ],
        bench.rounds(5),
    )
    return Row(
        "450 small files in one table, real limits",
        turns.contenders,
        [
            Figure.of_value("link requests", calls["ours"], "", at_most(3, "")),
            Figure.of_value("link requests of the official client", calls["official"], ""),
            turns.ratio("snapshot", "official client"),
        ],
        turns.rounds,
        turns.service_share,
    )


@row("download-memory", order=90)
def download_memory(bench: Bench) -> Row:
    """Fetch and decode tables of several sizes, and look at what the process holds."""
    sizes = (1, 4, 16)
    one = part_files(bench.scratch / "files", ".parquet", _ROWS, len(_ROWS))
    each = sum(Path(file).stat().st_size for file in one) / len(one)

    def run(gigabytes: int) -> Taken:
        folder = bench.scratch / "run"
        for name in ("service", "run", "links"):
            shutil.rmtree(bench.scratch / name, ignore_errors=True)
        folder.mkdir()
        (bench.scratch / "links").mkdir()
        links = [
            bench.scratch / "links" / f"part-{number:05d}.parquet"
            for number in range(round(gigabytes * 1e9 / each))
        ]
        for number, link in enumerate(links):
            link.symlink_to(one[number % len(one)])
        with running_service(serving(bench, [str(link) for link in links], Network())) as service:
            environment = service.environment(bench.scratch / "data")
            program = [sys.executable, "-m", "benchmarks.fetch_and_drop", TABLE, str(folder)]
            return timed(program, environment, folder, service)

    contenders = [Contender(f"{size} GB", partial(run, size)) for size in sizes]
    turns = take_turns(contenders, bench.rounds(1))
    peak = max(measured.peak_mb for measured in turns.contenders)
    return Row(
        "memory of fetching and decoding 1, 4 and 16 GB of Parquet",
        turns.contenders,
        [
            Figure.of_value("most memory", peak, "MB", at_most(600, "MB")),
            turns.most_threads(),
            turns.most_files(),
        ],
        turns.rounds,
        turns.service_share,
        "files are dropped as they arrive; the pipeline's own parts are kept until the commit.",
    )
