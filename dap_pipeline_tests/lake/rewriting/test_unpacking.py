"""Text parts are unpacked, and it is known how long their lines may be."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dap_pipeline.lake.rewriting.inspecting import LONGEST_LINE
from dap_pipeline.lake.rewriting.unpacking import unpack
from dap_pipeline_tests.lake.making import STRING, column_of, rewritten, rows_of, shape, write_jsonl

_LENGTHS = st.lists(st.integers(0, 700_000), max_size=6)


@given(st.lists(_LENGTHS, min_size=1, max_size=3))
def test_no_line_is_longer_than_told(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    texts = [b"\n".join(b"x" * length for length in lengths) for lengths in files]
    parts = [folder / f"part-{number}.jsonl.gz" for number in range(len(files))]
    for part, text in zip(parts, texts, strict=True):
        part.write_bytes(gzip.compress(text, compresslevel=1))
    (folder / "work").mkdir()
    unpacked = unpack(parts, folder / "work", 2)
    assert [path.read_bytes() for path in unpacked.paths] == texts
    assert max(max(lengths, default=0) for lengths in files) <= unpacked.longest


def test_of_parts_that_were_never_packed_nothing_is_promised(tmp_path: Path) -> None:
    part = tmp_path / "part.jsonl"
    part.write_bytes(b"{}\n")
    assert unpack([part], tmp_path, 1).longest == LONGEST_LINE
    assert unpack([part], tmp_path, 1).paths == (part,)


@pytest.mark.parametrize("megabytes", [1, 3, 5, 9, 17, 30])
def test_a_long_line_between_short_ones_arrives_whole(tmp_path: Path, megabytes: int) -> None:
    long = "x" * (megabytes << 20)
    values = [*(f"{n}" for n in range(50)), long, *(f"{n}" for n in range(50))]
    part = write_jsonl(tmp_path / "p.jsonl.gz", rows_of([{"s": value} for value in values]))
    written = rewritten([part], shape({"s": STRING}), tmp_path)
    assert sorted(column_of(written, "s")) == sorted(values)
