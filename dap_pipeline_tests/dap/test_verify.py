from __future__ import annotations

import gzip
import io
import random
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dap_pipeline.dap.models import Format
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.verify import _INFLATE, Unpacking, unpacked, verify_magic, verify_whole
from dap_pipeline.errors import CancelledError, DamagedObjectError

from .parts import packed

TEXT = [Format.CSV, Format.JSONL, Format.TSV]
GZIP = packed(5_000)
SMALL = gzip.compress(b'{"key":{"id":1}}\n', mtime=0)
ROWS = 2_000


Compression = Literal["none", "snappy", "gzip", "zstd"]


def parquet(compression: Compression = "snappy") -> bytes:
    """Make a Parquet file of nested columns, with several row groups."""
    table = pa.table(
        {
            "key": [{"id": number} for number in range(ROWS)],
            "value": [{"name": f"Name {number}" * 3} for number in range(ROWS)],
            "meta": [{"ts": number} for number in range(ROWS)],
        }
    )
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression=compression,
        write_page_checksum=True,
        row_group_size=500,
        use_dictionary=False,
    )
    return buffer.getvalue()


PARQUET = parquet()


def check(folder: Path, content: bytes, format: Format) -> None:
    file = folder / "part"
    file.write_bytes(content)
    verify_whole(file, format, Stop())


def refused(folder: Path, content: bytes, format: Format) -> bool:
    try:
        check(folder, content, format)
    except DamagedObjectError:
        return True
    return False


@pytest.mark.parametrize("format", TEXT)
def test_a_whole_gzip_file_passes(tmp_path: Path, format: Format) -> None:
    check(tmp_path, GZIP, format)
    check(tmp_path, gzip.compress(b""), format)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
def test_a_whole_parquet_file_passes(tmp_path: Path, compression: Compression) -> None:
    check(tmp_path, parquet(compression), Format.PARQUET)


def test_a_parquet_file_without_rows_passes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"key": pa.array([], pa.int64())}), buffer)
    check(tmp_path, buffer.getvalue(), Format.PARQUET)


def test_a_gzip_file_that_is_cut_anywhere_is_damaged(tmp_path: Path) -> None:
    for end in range(len(SMALL)):
        assert refused(tmp_path, SMALL[:end], Format.JSONL), end
    for end in (len(GZIP) // 2, len(GZIP) - 9, len(GZIP) - 8, len(GZIP) - 4, len(GZIP) - 1):
        assert refused(tmp_path, GZIP[:end], Format.JSONL), end


def test_a_gzip_file_with_any_altered_bit_of_data_or_checksum_is_damaged(tmp_path: Path) -> None:
    # The ten bytes of the header hold words that no checksum covers.
    for place in range(10, len(SMALL)):
        altered = bytearray(SMALL)
        altered[place] ^= 1
        assert refused(tmp_path, bytes(altered), Format.JSONL), place


def test_all_members_of_a_gzip_file_are_decoded(tmp_path: Path) -> None:
    many = SMALL * 50 + GZIP
    check(tmp_path, many, Format.JSONL)
    for end in (len(many) - 1, len(many) - len(GZIP) + 1, len(SMALL) * 50 - 1, len(SMALL) + 5):
        assert refused(tmp_path, many[:end], Format.JSONL), end
    second = bytearray(SMALL + SMALL)
    second[len(SMALL) + 15] ^= 1
    assert refused(tmp_path, bytes(second), Format.JSONL)


@pytest.mark.parametrize("size", [-1, 0, 1])
def test_members_may_end_where_a_read_ends(tmp_path: Path, size: int) -> None:
    """The file is read a mebibyte at a time."""
    empty = gzip.compress(b"", mtime=0)
    body = zlib.compressobj(0, wbits=31)
    filler = (1 << 20) + size - len(empty) - 18
    first = body.compress(bytes(filler)) + body.flush()
    spare = (1 << 20) + size - len(first)
    check(tmp_path, first + empty * (spare // len(empty) + 2), Format.JSONL)


@pytest.mark.parametrize("rest", [b"\0", b"\0" * 512, b"trailing", b"\x1f", SMALL[:3]])
def test_what_follows_the_last_member_is_damage(tmp_path: Path, rest: bytes) -> None:
    assert refused(tmp_path, GZIP + rest, Format.JSONL)


def gzip_of_zeros(block: int, count: int) -> bytes:
    """Make a gzip file of so many equal blocks of zeros, without packing each of them."""
    packer = zlib.compressobj(9, wbits=-15)
    one = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    crc, zeros = 0, bytes(block)
    for _ in range(count):
        crc = zlib.crc32(zeros, crc)
    tail = struct.pack("<II", crc, (block * count) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + one * count + packer.flush() + tail


@pytest.mark.slow
def test_a_file_that_unpacks_to_a_gigabyte_does_not_fill_memory(tmp_path: Path) -> None:
    file = tmp_path / "part"
    file.write_bytes(gzip_of_zeros(16 << 20, 64))
    assert file.stat().st_size < 2 << 20
    tracemalloc.start()
    try:
        verify_whole(file, Format.JSONL, Stop())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 50 << 20


@pytest.mark.parametrize("step", [1, 7, len(SMALL), 3_000])
def test_a_growing_gzip_file_is_decoded_as_far_as_it_has_arrived(tmp_path: Path, step: int) -> None:
    whole = SMALL * 3 + (GZIP if step > 100 else b"") + SMALL
    file = tmp_path / "part"
    file.write_bytes(whole[:2])
    unpacking = Unpacking(file)
    text = b""
    for end in range(2, len(whole) + step, step):
        file.write_bytes(whole[:end])
        text += b"".join(unpacking.texts(Stop()))
    unpacking.end()
    assert text == gzip.decompress(whole)


def test_damage_is_found_as_soon_as_it_has_arrived(tmp_path: Path) -> None:
    altered = bytearray(GZIP + SMALL)
    altered[len(GZIP) - 1] ^= 1
    file = tmp_path / "part"
    file.write_bytes(altered[: len(GZIP) - 1])
    unpacking = Unpacking(file)
    assert sum(map(len, unpacking.texts(Stop()))) == 5_000
    file.write_bytes(altered[: len(GZIP)])
    with pytest.raises(DamagedObjectError, match="part cannot be unpacked"):
        list(unpacking.texts(Stop()))


@pytest.mark.parametrize("size", [_INFLATE - 1, _INFLATE, _INFLATE + 1, 4 * _INFLATE])
def test_text_comes_in_bounded_pieces_and_none_of_it_stays_behind(
    tmp_path: Path, size: int
) -> None:
    file = tmp_path / "part"
    file.write_bytes(gzip.compress(bytes(size)) * 2)
    pieces = [len(piece) for piece in unpacked(file, Stop())]
    assert sum(pieces) == 2 * size
    assert max(pieces) <= _INFLATE


def test_a_parquet_file_that_is_cut_anywhere_is_damaged(tmp_path: Path) -> None:
    ends = [0, 3, 4, 8, 11, 12, 100, len(PARQUET) // 2, len(PARQUET) - 200]
    for end in [*ends, *range(len(PARQUET) - 12, len(PARQUET))]:
        assert refused(tmp_path, PARQUET[:end], Format.PARQUET), end


def test_a_parquet_file_that_lost_its_middle_is_damaged(tmp_path: Path) -> None:
    assert refused(tmp_path, PARQUET[:1_000] + PARQUET[3_000:], Format.PARQUET)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
def test_an_altered_page_is_noticed_in_every_row_group(
    tmp_path: Path, compression: Compression
) -> None:
    content = parquet(compression)
    groups = pq.ParquetFile(io.BytesIO(content)).metadata
    for group in range(groups.num_row_groups):
        for number in range(groups.num_columns):
            column = groups.row_group(group).column(number)
            altered = bytearray(content)
            altered[column.data_page_offset + column.total_compressed_size // 2] ^= 1
            assert refused(tmp_path, bytes(altered), Format.PARQUET), (group, number)


def test_whatever_bytes_a_parquet_file_holds_it_is_whole_or_damaged(tmp_path: Path) -> None:
    chance = random.Random(7)
    found = []
    for _ in range(200):
        altered = bytearray(PARQUET)
        start = chance.randrange(len(altered))
        altered[start : start + chance.randrange(20)] = chance.randbytes(chance.randrange(1, 20))
        found.append(refused(tmp_path, bytes(altered), Format.PARQUET))
    assert found.count(True) > 150


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (b"", Format.PARQUET),
        (b"", Format.JSONL),
        (b"PAR1", Format.PARQUET),
        (b"PAR1PAR1", Format.PARQUET),
        (b"PAR1" + b"x" * 20, Format.PARQUET),
        (b"x" * 20 + b"PAR1", Format.PARQUET),
        (b"\x1f", Format.JSONL),
        (PARQUET, Format.CSV),
        (GZIP, Format.PARQUET),
        (b"<html>Sorry</html>", Format.PARQUET),
        (b"<html>Sorry</html>", Format.TSV),
    ],
)
def test_a_file_of_another_kind_is_known_by_its_ends(
    tmp_path: Path, content: bytes, format: Format
) -> None:
    file = tmp_path / "part"
    file.write_bytes(content)
    kind = "Parquet" if format is Format.PARQUET else "gzip"
    for look in (verify_magic, lambda path, form: verify_whole(path, form, Stop())):
        with pytest.raises(DamagedObjectError, match=f"part is not a {kind} file"):
            look(file, format)


def test_the_ends_of_a_file_are_all_that_is_looked_at_when_only_they_are_asked_for(
    tmp_path: Path,
) -> None:
    file = tmp_path / "part"
    file.write_bytes(GZIP[:50])
    verify_magic(file, Format.JSONL)
    file.write_bytes(PARQUET[:50] + PARQUET[-50:])
    verify_magic(file, Format.PARQUET)


@pytest.mark.parametrize(("content", "format"), [(GZIP, Format.JSONL), (PARQUET, Format.PARQUET)])
def test_a_stop_ends_the_decoding(tmp_path: Path, content: bytes, format: Format) -> None:
    file = tmp_path / "part"
    file.write_bytes(content)
    stop = Stop()
    stop.set()
    with pytest.raises(CancelledError):
        verify_whole(file, format, stop)


@pytest.mark.parametrize("format", Format)
def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path: Path, format: Format) -> None:
    with pytest.raises(FileNotFoundError):
        verify_whole(tmp_path / "part", format, Stop())
