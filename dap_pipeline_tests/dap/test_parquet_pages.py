"""The checksums of Parquet pages, as parquet-java and pyarrow write them."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dap_pipeline.dap.models import Format
from dap_pipeline.dap.parquet_pages import Pages
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.verify import verify_whole
from dap_pipeline.errors import CancelledError, DamagedObjectError

from .parquet import told, written


def as_written(file: Path) -> bool:
    return Pages(file).are_as_written(pq.read_metadata(file), Stop())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "none"},
        {"compression": "zstd", "use_dictionary": False},
        {"data_page_size": 500},
        {"store_schema": False, "write_statistics": False},
    ],
    ids=str,
)
def test_the_checksums_of_an_untouched_file_are_right(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    assert as_written(written(tmp_path, **options))


def test_a_file_without_checksums_is_not_vouched_for(tmp_path: Path) -> None:
    assert not as_written(written(tmp_path, write_page_checksum=False))


def test_pages_of_version_2_are_not_vouched_for(tmp_path: Path) -> None:
    assert not as_written(written(tmp_path, data_page_version="2.0"))


def test_any_altered_bit_before_the_footer_is_noticed_or_changes_no_row(tmp_path: Path) -> None:
    file = written(tmp_path)
    content = file.read_bytes()
    rows = pq.read_table(file)
    footer = int.from_bytes(content[-8:-4], "little") + 8
    chance = random.Random(5)
    vouched = 0
    for _ in range(500):
        altered = bytearray(content)
        altered[chance.randrange(4, len(content) - footer)] ^= 1 << chance.randrange(8)
        file.write_bytes(altered)
        if as_written(file):
            # A statistic, or what every reader stumbles over.
            vouched += 1
            with contextlib.suppress(OSError, pa.ArrowException):
                assert pq.read_table(file).equals(rows)
    assert vouched < 50


def test_a_page_that_differs_from_its_checksum_is_damage(tmp_path: Path) -> None:
    file = written(tmp_path, compression="none", use_dictionary=False)
    content = bytearray(file.read_bytes())
    place = content.index(b"Name 7")
    content[place : place + 4] = b"name"
    file.write_bytes(content)
    assert not as_written(file)
    with pytest.raises(DamagedObjectError, match="cannot be decoded"):
        verify_whole(file, Format.PARQUET, Stop())


@pytest.mark.parametrize("place", [-1_000, -1, 0, 3])
@pytest.mark.parametrize("empty", [False, True])
def test_pages_that_would_lie_before_the_first_are_not_vouched_for(
    tmp_path: Path, place: int, empty: bool
) -> None:
    """A footer with an altered bit may tell of chunks at no place, or of empty ones at none."""
    file = written(tmp_path)
    nothing = {"total_compressed_size": 0, "total_uncompressed_size": 0, "num_values": 0}
    footer = told(file, data_page_offset=place, **nothing if empty else {})
    assert not Pages(file).are_as_written(footer, Stop())


def test_a_footer_that_sends_to_before_the_beginning_is_damage(tmp_path: Path) -> None:
    file = written(tmp_path, use_dictionary=False)
    content = bytearray(file.read_bytes())
    # In the footer a number below zero is an odd one: 2 for 1, and 1 for -1.
    second = pq.read_metadata(file).row_group(0).column(1).data_page_offset
    number = bytes([second << 1 & 0x7F | 0x80, second >> 6])
    place = content.rindex(b"\x26" + number)
    content[place + 1] ^= 1
    file.write_bytes(content)
    assert pq.read_metadata(file).row_group(0).column(1).data_page_offset == -second - 1
    with pytest.raises(DamagedObjectError):
        verify_whole(file, Format.PARQUET, Stop())


def test_a_stop_ends_the_look_at_the_pages(tmp_path: Path) -> None:
    file = written(tmp_path)
    stop = Stop()
    stop.set()
    with pytest.raises(CancelledError):
        Pages(file).are_as_written(pq.read_metadata(file), stop)
