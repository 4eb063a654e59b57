"""The pages of a Parquet file are compared with their checksums while it arrives.

Whatever its pieces, the file passes or is refused as if all of it had been there at once.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dap_pipeline.dap import parquet_pages
from dap_pipeline.dap.models import Format
from dap_pipeline.dap.parquet_pages import Pages
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.verify import verify_parquet, verify_whole
from dap_pipeline.errors import CancelledError, DamagedObjectError

from .parquet import told, with_bit, with_gap, written

KINDS: list[dict[str, Any]] = [
    {},
    {"compression": "none", "use_dictionary": False},
    {"data_page_size": 500},
    {"write_page_index": True},
    {"write_page_checksum": False},
    {"data_page_version": "2.0"},
]


def arrived(file: Path, content: bytes, ends: list[int]) -> Pages:
    """Have the file grow to each of these ends, and be looked at there, before it is whole."""
    pages = Pages(file)
    for end in sorted(ends):
        file.write_bytes(content[:end])
        pages.compare(Stop())
    file.write_bytes(content)
    return pages


def refused_on_arrival(file: Path, content: bytes, ends: list[int]) -> bool:
    pages = arrived(file, content, ends)
    try:
        verify_parquet(file, pages, Stop())
    except DamagedObjectError:
        return True
    return False


def refused_at_once(file: Path, content: bytes) -> bool:
    file.write_bytes(content)
    try:
        verify_whole(file, Format.PARQUET, Stop())
    except DamagedObjectError:
        return True
    return False


def some_ends(content: bytes, chance: random.Random) -> list[int]:
    return [chance.randrange(len(content)) for _ in range(chance.randrange(12))]


def without_pages(file: Path) -> None:
    """Take all pages out of the file, so that only what is remembered of them can be right."""
    footer = pq.read_metadata(file).serialized_size + 8
    content = file.read_bytes()
    file.write_bytes(content[:4] + bytes(len(content) - 4 - footer) + content[-footer:])


@pytest.fixture(scope="module")
def many_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("many"), data_page_size=2_000)


@given(st.data())
@settings(max_examples=60)
def test_each_page_is_compared_once_whatever_the_pieces_in_which_it_comes(
    many_pages: Path, data: st.DataObject
) -> None:
    content = many_pages.read_bytes()
    places = st.integers(0, len(content))
    ends = data.draw(st.lists(places, max_size=20))
    file = many_pages.with_name("arriving.parquet")
    pages = arrived(file, content, [*ends, len(content)])
    without_pages(file)
    assert pages.are_as_written(pq.read_metadata(file), Stop())


def test_a_file_may_arrive_byte_by_byte(many_pages: Path) -> None:
    content = many_pages.read_bytes()
    file = many_pages.with_name("arriving.parquet")
    pages = arrived(file, content, [*range(2_000), len(content)])
    without_pages(file)
    assert pages.are_as_written(pq.read_metadata(file), Stop())


def test_what_had_not_come_at_the_last_look_is_compared_at_the_end(tmp_path: Path) -> None:
    content = written(tmp_path).read_bytes()
    file = tmp_path / "arriving.parquet"
    for end in (0, 3, 4, len(content) // 2):
        pages = arrived(file, content, [end])
        assert pages.are_as_written(pq.read_metadata(file), Stop())
        without_pages(file)
        assert not pages.are_as_written(pq.read_metadata(file), Stop())


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_whole_file_of_any_kind_passes(tmp_path: Path, options: dict[str, Any]) -> None:
    content = written(tmp_path, **options).read_bytes()
    chance = random.Random(3)
    for _ in range(10):
        ends = some_ends(content, chance)
        assert not refused_on_arrival(tmp_path / "arriving", content, ends), ends


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_an_altered_bit_before_the_footer_is_judged_as_if_the_file_had_come_at_once(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    whole = written(tmp_path, **options)
    content = whole.read_bytes()
    footer = pq.read_metadata(whole).serialized_size + 8
    file = tmp_path / "arriving"
    chance = random.Random(4)
    found = 0
    for _ in range(100):
        altered = with_bit(content, chance.randrange(len(content) - footer), chance.randrange(8))
        ends = some_ends(altered, chance)
        expected = refused_at_once(file, altered)
        assert refused_on_arrival(file, altered, ends) == expected, ends
        found += expected
    assert found > 10


def test_pages_that_are_right_do_not_make_up_for_a_footer_that_is_not(tmp_path: Path) -> None:
    file = written(tmp_path)
    content = file.read_bytes()
    pages = arrived(file, content, [len(content)])
    chunk = pq.read_metadata(file).row_group(0).column(0)
    assert pages.are_as_written(told(file), Stop())
    assert not pages.are_as_written(told(file, encodings=("RLE",)), Stop())
    for name in (
        "data_page_offset",
        "dictionary_page_offset",
        "total_compressed_size",
        "total_uncompressed_size",
        "num_values",
    ):
        for more in (-20, -1, 1, 20):
            other = told(file, has_dictionary_page=True, **{name: getattr(chunk, name) + more})
            expected = Pages(file).are_as_written(other, Stop())
            assert pages.are_as_written(other, Stop()) == expected
            assert name == "data_page_offset" or not expected, (name, more)


def test_an_altered_byte_of_any_page_is_damage(tmp_path: Path) -> None:
    content = written(tmp_path).read_bytes()
    file = tmp_path / "arriving"
    walked = list(arrived(file, content, [len(content)])._right.values())
    for page in walked:
        altered = with_bit(content, page.start + page.length // 2)
        assert refused_on_arrival(file, altered, [page.start, page.end, len(content)]), page
    assert len(walked) > 30


def test_a_file_that_is_cut_short_is_damage(tmp_path: Path) -> None:
    content = written(tmp_path).read_bytes()
    chance = random.Random(6)
    for _ in range(50):
        short = content[: chance.randrange(1, len(content))]
        assert refused_on_arrival(tmp_path / "arriving", short, some_ends(short, chance))


def test_pages_behind_a_gap_wait_until_the_footer_tells_where_they_are(tmp_path: Path) -> None:
    file = with_gap(tmp_path)
    content = file.read_bytes()
    pages = arrived(file, content, [len(content)])
    metadata = pq.read_metadata(file)
    assert pages.are_as_written(metadata, Stop())
    second = metadata.row_group(1).column(0)
    altered = with_bit(content, second.data_page_offset + second.total_compressed_size // 4)
    assert refused_on_arrival(file, altered, [len(content)])


def test_of_a_file_with_countless_pages_only_so_many_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_pages, "_MOST_PAGES", 5)
    file = written(tmp_path)
    content = file.read_bytes()
    pages = arrived(file, content, [len(content) // 2, len(content)])
    assert len(pages._right) == 5
    assert pages.are_as_written(pq.read_metadata(file), Stop())


def number(value: int) -> bytes:
    """Write a number as Thrift's compact protocol does, without a sign."""
    if value < 0x80:
        return bytes([value])
    return bytes([value & 0x7F | 0x80]) + number(value >> 7)


def header(length: int, statistic: bytes = b"") -> bytes:
    """Give the header of a data page of so many packed bytes, whose checksum is that of none."""
    statistics = b"\x1c\x18" + number(len(statistic)) + statistic + b"\0"
    data = bytes.fromhex("1502 1500 1506 1506") + statistics + b"\0"
    signed = number((length << 1) ^ (length >> 63))
    return bytes.fromhex("1500 1514 15") + signed + bytes.fromhex("1500 1c") + data + b"\0"


@pytest.mark.parametrize("length", [-len(header(-20)), -1, 1, 1 << 29])
def test_a_page_that_ends_before_it_begins_or_after_all_that_is_here_is_not_counted(
    tmp_path: Path, length: int
) -> None:
    """The first of them would be met again and again."""
    file = tmp_path / "part"
    file.write_bytes(b"PAR1" + header(length))
    pages = Pages(file)
    pages.compare(Stop())
    assert pages._right == {}


@pytest.mark.parametrize("size", [10, 5_000, 70_000])
def test_a_header_may_come_in_pieces_and_hold_a_text_of_any_length(
    tmp_path: Path, size: int
) -> None:
    file = tmp_path / "part"
    pages = Pages(file)
    content = b"PAR1" + header(0, bytes(size))
    for end in (*range(0, len(content), 1 + size // 40), len(content) - 1):
        file.write_bytes(content[:end])
        pages.compare(Stop())
        assert pages._right == {}
    file.write_bytes(content)
    pages.compare(Stop())
    assert list(pages._right) == [4]


def test_a_stop_ends_the_comparison(tmp_path: Path) -> None:
    file = written(tmp_path)
    stop = Stop()
    stop.set()
    with pytest.raises(CancelledError):
        Pages(file).compare(stop)
