"""Writes BENCHMARKS.md from the kept results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.harness import Figure, Kept, Measured

_HEAD = """\
# Benchmarks

Written by `make bench`. Contenders run in turn within one run; a ratio is the median of the ratios
of each round, and above 1 it says how many times faster the first one is. "Service" is the share
of the machine's processor time that the embedded service took beside the contender where it took
most: what it takes, both contenders lack. How fast it can send is measured in the row of the raw
download. The memory is the most that a contender's largest process held. "Commit" is what was
measured, with a plus where files differed from it. Where the time goes is told in
[docs/speed.md](docs/speed.md).

"""


def report(results: Sequence[Kept]) -> str:
    """Write the page."""
    return _HEAD + _summary(results) + "\n" + _details(results) + "\n" + _machines(results)


def _summary(results: Iterable[Kept]) -> str:
    lines = [
        "| work | figure | measured | target | met | rounds | service |",
        "|---|---|---|---|---|---|---|",
    ]
    for kept in results:
        share = kept.row.service_share
        for number, figure in enumerate(kept.row.figures):
            lines.append(
                f"| {kept.row.work if number == 0 else ''} | {figure.of} | {_value(figure)} "
                f"| {figure.target} | {_met(figure)} | {kept.row.rounds} "
                f"| {'' if share is None else f'{share:.0%}'} |"
            )
    return "\n".join(lines) + "\n"


def _details(results: Iterable[Kept]) -> str:
    lines = [
        "## Medians",
        "",
        "| row | contender | seconds | processor seconds | most memory of a process |",
        "|---|---|---|---|---|",
    ]
    notes = []
    for kept in results:
        lines += [f"| `{kept.name}` | {_measured(each)} |" for each in kept.row.contenders]
        if kept.row.note:
            notes.append(f"* `{kept.name}`: {kept.row.note}")
    return "\n".join([*lines, "", *notes]) + "\n"


def _machines(results: Sequence[Kept]) -> str:
    """Name each machine once, and below it what was measured there, by day and commit."""
    found: dict[str, dict[str, list[str]]] = {}
    for kept in results:
        machine = "; ".join(f"{name} {value}" for name, value in kept.machine.items())
        when = kept.date + (f", commit {kept.commit}" if kept.commit else "")
        found.setdefault(machine, {}).setdefault(when, []).append(f"`{kept.name}`")
    lines = ["## Machine", ""]
    only = len(found) == 1
    for machine, times in found.items():
        lines.append(f"* {machine}")
        for when, names in sorted(times.items()):
            all_rows = only and len(times) == 1
            lines.append(f"  * {when}: {'all rows' if all_rows else ', '.join(names)}")
    return "\n".join(lines) + "\n"


def _value(figure: Figure) -> str:
    digits = 2 if abs(figure.value) < 10 and figure.value != round(figure.value) else 0
    return f"{figure.value:,.{digits}f} {figure.unit}".strip()


def _met(figure: Figure) -> str:
    return "" if figure.met is None else "yes" if figure.met else "**no**"


def _measured(each: Measured) -> str:
    cpu = f"{each.cpu_seconds:,.1f}" if each.cpu_seconds else ""
    peak = f"{each.peak_mb:,.0f} MB" if each.peak_mb else ""
    return f"{each.name} | {each.seconds:,.2f} | {cpu} | {peak}"
