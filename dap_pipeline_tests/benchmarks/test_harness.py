from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness import (
    Contender,
    Figure,
    Kept,
    Measured,
    Row,
    Taken,
    at_least,
    at_most,
    keep,
    kept_results,
    take_turns,
)
from benchmarks.machine import commit
from benchmarks.report import report


def scripted(name: str, seconds: list[float], order: list[str]) -> Contender:
    """A contender that tells when it is asked, and takes what it is told to take."""
    left = iter(seconds)

    def run() -> Taken:
        order.append(name)
        return Taken(next(left), cpu_seconds=1.0, service_share=0.1 if name == "a" else 0.3)

    return Contender(name, run)


def test_who_begins_changes_from_round_to_round() -> None:
    order: list[str] = []
    take_turns([scripted(name, [1.0] * 3, order) for name in "ab"], 3)
    assert "".join(order) == "abbaab"


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    """The second round is slow for both: its ratio is as good as the others'."""
    order: list[str] = []
    ours, other = [1.0, 10.0, 2.0], [2.0, 30.0, 8.0]
    turns = take_turns([scripted("a", ours, order), scripted("b", other, order)], 3)
    assert turns.ratio("a", "b").value == 3.0
    assert turns.ratio("b", "a").value == pytest.approx(1 / 3)
    assert turns.times_as_long("a", "b") == pytest.approx(1 / 3)
    assert turns.longer("b", "a") == 6.0
    assert turns.seconds("a") == 2.0
    assert turns.rounds == 3
    assert turns.service_share == 0.3


@pytest.mark.parametrize(
    ("value", "met"), [(2.5, True), (2.6, True), (2.4999, False)], ids=["just", "above", "below"]
)
def test_a_figure_tells_whether_it_is_large_enough(value: float, met: bool) -> None:
    assert Figure.of_value("speed", value, "x", at_least(2.5)).met is met


def test_a_figure_tells_whether_it_is_small_enough() -> None:
    assert Figure.of_value("calls", 3, "", at_most(3, "")).met is True
    assert Figure.of_value("calls", 4, "", at_most(3, "")).met is False
    assert Figure.of_value("calls", 4, "").met is None


def kept(name: str, order: int, value: float, machine: str = "a box") -> Kept:
    figure = Figure.of_value("ours against theirs", value, "x", at_least(2))
    row = Row(f"work of {name}", [Measured("ours", 1.5, 0.5, 80)], [figure], 5, 0.125, "a word.")
    return Kept(name, order, "2026-11-23", {"processor": machine}, row, "1a2b3c4")


def test_a_result_is_read_as_it_was_kept(tmp_path: Path) -> None:
    results = [kept("second", 2, 2.5), kept("first", 1, 1.5)]
    for each in results:
        keep(each, tmp_path)
    assert kept_results(tmp_path) == sorted(results, key=lambda each: each.order)


def test_a_row_that_is_run_again_replaces_its_result_alone(tmp_path: Path) -> None:
    for each in (kept("one", 1, 2.5), kept("two", 2, 2.5), kept("one", 1, 3.5)):
        keep(each, tmp_path)
    assert [each.row.figures[0].value for each in kept_results(tmp_path)] == [3.5, 2.5]


def test_the_page_shows_what_was_met_and_what_was_not() -> None:
    page = report([kept("fast", 1, 2.5), kept("slow", 2, 1.5)])
    assert "| work of fast | ours against theirs | 2.50 x | at least 2 x | yes | 5 | 12% |" in page
    assert "| work of slow | ours against theirs | 1.50 x | at least 2 x | **no** | 5 |" in page
    assert "| `fast` | ours | 1.50 | 0.5 | 80 MB |" in page
    assert "* `slow`: a word." in page


def test_a_machine_is_named_once_with_what_was_measured_there() -> None:
    one = report([kept("fast", 1, 2.5), kept("slow", 2, 1.5)])
    two = report([kept("fast", 1, 2.5), kept("slow", 2, 1.5, "another box")])
    assert one.endswith("* processor a box\n  * 2026-11-23, commit 1a2b3c4: all rows\n")
    assert "* processor another box\n  * 2026-11-23, commit 1a2b3c4: `slow`\n" in two


def test_rows_of_several_commits_are_listed_by_commit() -> None:
    newer = replace(kept("fast", 1, 2.5), commit="5d6e7f8+")
    page = report([newer, kept("slow", 2, 1.5), kept("wide", 3, 1.5)])
    assert page.count("a box") == 1
    assert "  * 2026-11-23, commit 1a2b3c4: `slow`, `wide`\n" in page
    assert "  * 2026-11-23, commit 5d6e7f8+: `fast`\n" in page


def test_what_was_measured_is_named_by_its_commit(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, "-C", tmp_path, *words], check=True, capture_output=True)

    assert commit(tmp_path) == ""
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    clean = commit(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{7,}", clean)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "row.json").touch()
    (tmp_path / "BENCHMARKS.md").touch()
    assert commit(tmp_path) == clean
    (tmp_path / "module.py").touch()
    assert commit(tmp_path) == f"{clean}+"
