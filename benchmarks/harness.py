"""What every row of the bench shares: contenders in turn, ratios, targets, and the kept results.

A row is a function in a module named ``dap_*.py``, ``lake_*.py`` or ``increments*.py`` here::

    @row("raw-download", order=50)
    def raw_download(bench: Bench) -> Row:
        ours = Contender("snapshot", lambda: run_ours(...))          # gives a Taken
        theirs = Contender("official client", lambda: run_official(...))
        turns = take_turns([ours, theirs], bench.rounds(5))
        return Row(
            work="16 files, 3 GB, loopback to memory",
            contenders=turns.contenders,
            figures=[turns.ratio("snapshot", "official client", at_least(2.5))],
            rounds=turns.rounds,
            service_share=turns.service_share,
        )

`take_turns` runs every contender once a round, in an order that rotates, and takes the ratio within
each round: what else the machine does then touches both. A ratio above 1 says how many times
faster the first one is, by the median over the rounds. ``bench.scratch`` is an empty folder in
memory (or on ``bench.disk``) that is gone after the row.

``python -m benchmarks [name …]`` runs the rows, keeps each as ``results/<name>.json`` and writes
BENCHMARKS.md from all that are kept. ``--rounds N`` overrides the number of rounds.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Taken:
    """What one run of a contender took."""

    seconds: float
    cpu_seconds: float = 0.0
    """Processor time of the contender's processes."""
    peak_mb: float = 0.0
    """Most memory that one of its processes held."""
    service_share: float = 0.0
    """Part of the machine's processor time that the embedded service used meanwhile."""
    threads: int = 0
    """Most threads that the process itself had, looked at from outside."""
    files: int = 0
    """Most files and sockets that it had open."""


@dataclass(frozen=True)
class Contender:
    """One of those that do the same work."""

    name: str
    run: Callable[[], Taken]


@dataclass(frozen=True)
class Target:
    """What a figure should be."""

    words: str
    least: float | None = None
    most: float | None = None

    def met_by(self, value: float) -> bool:
        """Tell whether a value is as it should be."""
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )


def at_least(value: float, unit: str = "x") -> Target:
    """Want this or more."""
    return Target(f"at least {value:,g} {unit}".strip(), least=value)


def at_most(value: float, unit: str = "x") -> Target:
    """Want this or less."""
    return Target(f"at most {value:,g} {unit}".strip(), most=value)


@dataclass(frozen=True)
class Figure:
    """One number that a row is about, and what it should be."""

    of: str
    value: float
    unit: str
    target: str
    met: bool | None
    """None where nothing is wanted."""

    @classmethod
    def of_value(cls, of: str, value: float, unit: str, target: Target | None = None) -> Figure:
        """Hold a value against its target."""
        if target is None:
            return cls(of, float(value), unit, "", None)
        return cls(of, float(value), unit, target.words, target.met_by(value))


@dataclass(frozen=True)
class Measured:
    """A contender's medians over the rounds."""

    name: str
    seconds: float
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Row:
    """What a row of the bench found out."""

    work: str
    contenders: Sequence[Measured]
    figures: Sequence[Figure]
    rounds: int
    service_share: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Turns:
    """What the contenders took, round by round."""

    taken: dict[str, list[Taken]]

    @property
    def rounds(self) -> int:
        """How often each has run."""
        return min(len(runs) for runs in self.taken.values())

    @property
    def contenders(self) -> list[Measured]:
        """Give each contender's medians, in the order in which they were named."""
        return [
            Measured(
                name,
                self.seconds(name),
                statistics.median(run.cpu_seconds for run in runs),
                statistics.median(run.peak_mb for run in runs),
            )
            for name, runs in self.taken.items()
        ]

    @property
    def service_share(self) -> float:
        """Give the largest median share that the service had beside one of them."""
        shares = [
            statistics.median(run.service_share for run in runs) for runs in self.taken.values()
        ]
        return max(shares)

    def seconds(self, name: str) -> float:
        """Give a contender's median time."""
        return statistics.median(run.seconds for run in self.taken[name])

    def most_threads(self) -> Figure:
        """Give the most threads that one of them ever had."""
        runs = itertools.chain.from_iterable(self.taken.values())
        return Figure.of_value("most threads", max(run.threads for run in runs), "")

    def most_files(self) -> Figure:
        """Give the most open files that one of them ever had."""
        runs = itertools.chain.from_iterable(self.taken.values())
        return Figure.of_value("most open files", max(run.files for run in runs), "")

    def ratio(self, ours: str, other: str, target: Target | None = None) -> Figure:
        """Tell how many times faster the first is than the other: the median over the rounds."""
        pairs = zip(self.taken[ours], self.taken[other], strict=True)
        value = statistics.median(b.seconds / a.seconds for a, b in pairs)
        return Figure.of_value(f"{ours} against {other}", value, "x", target)

    def times_as_long(self, ours: str, other: str) -> float:
        """Tell how many times as long the first takes as the other: the median over the rounds."""
        pairs = zip(self.taken[ours], self.taken[other], strict=True)
        return statistics.median(a.seconds / b.seconds for a, b in pairs)

    def without(self, name: str) -> Turns:
        """Leave one of them out."""
        return Turns({each: runs for each, runs in self.taken.items() if each != name})

    def longer(self, ours: str, other: str) -> float:
        """Tell by how many seconds the first takes longer: the median over the rounds."""
        pairs = zip(self.taken[ours], self.taken[other], strict=True)
        return statistics.median(a.seconds - b.seconds for a, b in pairs)


def take_turns(contenders: Sequence[Contender], rounds: int) -> Turns:
    """Run every contender once a round; who begins changes from round to round."""
    taken: dict[str, list[Taken]] = {each.name: [] for each in contenders}
    for number in range(rounds):
        first = number % len(contenders)
        for each in (*contenders[first:], *contenders[:first]):
            run = each.run()
            taken[each.name].append(run)
            print(f"  round {number + 1}: {each.name} {run.seconds:.2f} s", flush=True)
    return Turns(taken)


@dataclass(frozen=True)
class Bench:
    """What a row is given."""

    scratch: Path
    """An empty folder in memory."""
    disk: Path
    """An empty folder on the disk of the project."""
    wanted_rounds: int | None = None

    def rounds(self, usual: int) -> int:
        """Give the number of rounds: what the user wants, else what is usual for the row."""
        return self.wanted_rounds or usual


@dataclass(frozen=True)
class Registered:
    """A row that can be run."""

    name: str
    order: int
    measure: Callable[[Bench], Row]


@dataclass
class _Registry:
    rows: dict[str, Registered] = field(default_factory=dict)


_REGISTRY = _Registry()


def row(name: str, *, order: int) -> Callable[[Callable[[Bench], Row]], Callable[[Bench], Row]]:
    """Register a row under a name; rows are shown and run by their order."""

    def register(measure: Callable[[Bench], Row]) -> Callable[[Bench], Row]:
        _REGISTRY.rows[name] = Registered(name, order, measure)
        return measure

    return register


def registered() -> list[Registered]:
    """Give all rows in their order."""
    return sorted(_REGISTRY.rows.values(), key=lambda each: (each.order, each.name))


@dataclass(frozen=True)
class Kept:
    """A row's result as it is kept."""

    name: str
    order: int
    date: str
    machine: dict[str, str]
    row: Row
    commit: str = ""
    """What was measured; see `machine.commit`."""


def keep(kept: Kept, folder: Path = RESULTS) -> Path:
    """Write a result to its file."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{kept.name}.json"
    file.write_text(json.dumps(_rounded(asdict(kept)), indent=1, ensure_ascii=False) + "\n")
    return file


def kept_results(folder: Path = RESULTS) -> list[Kept]:
    """Read the results of all rows that were ever run, in their order."""
    found = [_read(json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda kept: (kept.order, kept.name))


def _read(fields: dict[str, object]) -> Kept:
    told = fields["row"]
    assert isinstance(told, dict)  # noqa: S101  # it was written by `keep`
    measured = Row(
        **{
            **told,
            "contenders": [Measured(**each) for each in told["contenders"]],
            "figures": [Figure(**each) for each in told["figures"]],
        }
    )
    return Kept(**{**fields, "row": measured})  # type: ignore[arg-type]  # as written by `keep`


def _rounded(value: object) -> object:
    """Keep four digits: more would change with every run and say nothing."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_rounded(each) for each in value]
    return value
