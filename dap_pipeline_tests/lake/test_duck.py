from __future__ import annotations

from pathlib import Path

import pytest

from dap_pipeline.lake.duck import RewriteOptions, connect, fetch


@pytest.mark.parametrize(
    ("memory", "for_merging"),
    [("400MB", "240MB"), ("1.5 GiB", "0.9 GiB"), ("1TB", "0.6TB"), ("1000KB", "600KB")],
)
def test_a_merge_counts_less_memory_than_it_takes(
    memory: str, for_merging: str, tmp_path: Path
) -> None:
    options = RewriteOptions(memory, 1, tmp_path / "spill")
    assert options.for_merging() == RewriteOptions(for_merging, 1, tmp_path / "spill")


def test_duckdb_takes_the_lesser_memory(tmp_path: Path) -> None:
    with connect(RewriteOptions("1 GiB", 1, tmp_path / "spill").for_merging()) as connection:
        [(told,)] = fetch(connection, "SELECT current_setting('memory_limit')")
    assert told == "614.3 MiB"
