"""Loads that are killed at any moment."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from dap_pipeline.lake.tables import Lake
from dap_pipeline.settings import load_settings

from .generations import Generations
from .killing import USERS, Killer, Order, killer
from .proving import CRASHES, proves
from .surfaces import published_rows

pytestmark = [pytest.mark.slow, pytest.mark.begun_first]

MOMENTS = 200
# Three parts, or what has arrived of them with its etag, and the file made of them.
_MOST_STAGED = 12


@proves(
    CRASHES,
    f"kill -9 at {MOMENTS} random moments of a load and of its commit",
    "The published table is the old one or the new one, whole. The next run finishes, and leaves "
    "nothing in staging; files of killed commits go with the old versions.",
)
def test_a_killed_load_leaves_the_old_table_or_the_new_one(
    generations: Generations, tmp_path: Path
) -> None:
    chance = random.Random(4)
    seen: Counter[str] = Counter()
    with killer(generations.environment(tmp_path / "data"), tmp_path) as loads:
        longest, after_rewriting = _usual_times(loads, generations)
        while seen.total() < MOMENTS:
            before = _begin(generations)
            # Twice, so that some moments lie in a load that goes on from a killed one.
            for _ in range(2):
                if seen.total() % 2:
                    order = Order(chance.uniform(0, after_rewriting), from_rewriting=True)
                else:
                    order = Order(chance.uniform(0, longest))
                found = _killed_once(loads, generations, before, order)
                seen[found] += 1
                if found == "new":
                    break
            _finish(loads, generations)
    _check_leftovers()
    # Else the moments were not spread over the whole of it.
    assert seen["old"] > MOMENTS / 10
    assert seen["new"] > MOMENTS / 20


def _begin(generations: Generations) -> int:
    """Make a new generation, whose job is done already; tell the one before."""
    before = generations.number
    generations.step()
    generations.prepare()
    return before


def _killed_once(loads: Killer, generations: Generations, before: int, order: Order) -> str:
    """Kill a load, and tell which generation is there: the old one or the new one."""
    loads.load(order)
    rows = published_rows("users")
    assert rows in (generations.rows(before), generations.rows(before + 1))
    assert _files_in_staging() <= _MOST_STAGED
    return "old" if rows == generations.rows(before) else "new"


def _finish(loads: Killer, generations: Generations) -> None:
    assert loads.load().word == "done"
    assert published_rows("users") == generations.rows(generations.number)
    assert _files_in_staging() == 0


def _usual_times(loads: Killer, generations: Generations) -> tuple[float, float]:
    """Time some loads: all of it, and about what comes after the first word of rewriting."""
    seconds = []
    for _ in range(3):
        generations.step()
        generations.prepare()
        seconds.append(loads.load().seconds)
    return max(seconds[1:]), max(seconds[1:]) / 2


def _files_in_staging() -> int:
    folders = load_settings().staging_dir.rglob("job_*")
    return sum(1 for folder in folders for file in folder.rglob("*") if file.is_file())


def _check_leftovers() -> None:
    """Check that files of killed commits go when they are old enough."""
    lake = Lake(load_settings().lake_dir)
    folder = lake.folder(USERS)
    long_ago = time.time() - 2 * 3600
    for file in folder.rglob("*.parquet"):
        os.utime(file, (long_ago, long_ago))
    lake.vacuum(USERS, timedelta(0))
    table = lake.table(USERS)
    assert table is not None
    assert {str(file) for file in folder.glob("*.parquet")} == set(table.files)
