"""Runs the rows that are named, or all, and writes BENCHMARKS.md."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pkgutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import benchmarks
from benchmarks.harness import ROOT, Bench, Kept, Registered, keep, kept_results, registered
from benchmarks.machine import commit, machine
from benchmarks.report import report

_MEMORY = Path("/dev/shm")  # noqa: S108  # folders made there are private


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows and give the exit code: 1 when one of them could not be run."""
    _import_rows()
    rows = registered()
    asked = _parser(rows).parse_args(arguments)
    failed = [each.name for each in rows if each.name in asked.names and not _run(each, asked)]
    (ROOT / "BENCHMARKS.md").write_text(report(kept_results()))
    print(f"BENCHMARKS.md written{', without ' + ', '.join(failed) if failed else ''}.")
    return 1 if failed else 0


def _import_rows() -> None:
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith(("dap_", "lake_", "increments")):
            importlib.import_module(f"benchmarks.{module.name}")


def _parser(rows: Sequence[Registered]) -> argparse.ArgumentParser:
    names = [each.name for each in rows]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", default=names, metavar="name", help=f"one of {', '.join(names)}"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each row instead of its own number")
    return parser


def _run(each: Registered, asked: argparse.Namespace) -> bool:
    """Run one row; what goes wrong in it is shown and does not keep the others from running."""
    print(f"{each.name} …", flush=True)
    measured = commit()
    try:
        with _bench(asked.rounds) as bench:
            found = each.measure(bench)
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return False
    today = datetime.now(UTC).date().isoformat()
    keep(Kept(each.name, each.order, today, machine(), found, measured))
    for figure in found.figures:
        print(f"  {figure.of}: {figure.value:.3g} {figure.unit} ({figure.target or 'no target'})")
    return True


@contextlib.contextmanager
def _bench(rounds: int | None) -> Iterator[Bench]:
    memory, build = _MEMORY if _MEMORY.is_dir() else None, ROOT / "build"
    build.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="dap-bench-", dir=memory) as scratch,
        tempfile.TemporaryDirectory(prefix="dap-bench-", dir=build) as disk,
    ):
        yield Bench(Path(scratch), Path(disk), rounds)


if __name__ == "__main__":
    sys.exit(main())
