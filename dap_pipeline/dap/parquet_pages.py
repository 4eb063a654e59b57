"""Compares the pages of a Parquet file with the checksums that their writer has left.

parquet-java, and so Spark, leaves one in the header of every page unless told otherwise. Where all
are right, the pages hold the very bytes that were written: decoding them would say no more about
their way here, and take twenty times as long. The headers stand before the pages, in Thrift's
compact protocol; no checksum covers them, so they are held against the footer. What is not as
Spark writes it (pages of version 2, say) is not vouched for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
from isal import isal_zlib

from dap_pipeline.dap.stopping import Stop

Struct = Mapping[int, "int | Struct"]

_HEADER = 1 << 12
_LONGEST_HEADER = 1 << 24
_CHUNK = 1 << 20

# What parquet.thrift says of a header: the type of each field by its number.
_BOOLEAN, _I32, _I64, _TEXT, _STRUCT = 1, 5, 6, 8, 12
_STATISTICS: Struct = {
    1: _TEXT, 2: _TEXT, 3: _I64, 4: _I64, 5: _TEXT, 6: _TEXT, 7: _BOOLEAN, 8: _BOOLEAN,
}  # fmt: skip
_DATA: Struct = {1: _I32, 2: _I32, 3: _I32, 4: _I32, 5: _STATISTICS}
_DICTIONARY: Struct = {1: _I32, 2: _I32, 3: _BOOLEAN}
_PAGE: Struct = {1: _I32, 2: _I32, 3: _I32, 4: _I32, 5: _DATA, 7: _DICTIONARY}
_RLE = 3
_ENCODINGS = {
    0: "PLAIN", 2: "PLAIN_DICTIONARY", 3: "RLE", 5: "DELTA_BINARY_PACKED",
    6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY", 8: "RLE_DICTIONARY",
    9: "BYTE_STREAM_SPLIT",
}  # fmt: skip


@dataclass(frozen=True)
class _Page:
    start: int
    length: int
    unpacked: int
    """Bytes of the page before it was packed, with its header."""
    crc: int
    values: int
    encoding: str


def pages_are_as_written(path: Path, metadata: pq.FileMetaData, stop: Stop) -> bool:
    """Tell whether every page has a checksum, and is of it; what else is odd makes it False too.

    Raises:
        CancelledError: a stop was asked for meanwhile.
    """
    with path.open("rb") as file:
        return all(
            _is_as_written(file, metadata.row_group(group).column(number), stop)
            for group in range(metadata.num_row_groups)
            for number in range(metadata.num_columns)
        )


def _is_as_written(file: BinaryIO, chunk: pq.ColumnChunkMetaData, stop: Stop) -> bool:
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        start = min(start, chunk.dictionary_page_offset)
    values = unpacked = 0
    for page in _pages(file, start, start + chunk.total_compressed_size):
        stop.check()
        if page is None or page.encoding not in chunk.encodings or _crc(file, page) != page.crc:
            return False
        values += page.values
        unpacked += page.unpacked
    return (values, unpacked) == (chunk.num_values, chunk.total_uncompressed_size)


def _pages(file: BinaryIO, start: int, end: int) -> Iterator[_Page | None]:
    """Yield the pages that fill a part of the file, and None where they do not."""
    while start < end:
        page = _page(file, start)
        if page is None or page.length < 0 or page.start + page.length > end:
            yield None
            return
        yield page
        start = page.start + page.length


def _page(file: BinaryIO, start: int) -> _Page | None:
    """Read the header of a page, which may hold texts of any length."""
    window = _HEADER
    while window <= _LONGEST_HEADER:
        file.seek(start)
        reader = _Compact(file.read(window))
        try:
            return _from_header(reader.struct(_PAGE), start, reader.place)
        except IndexError:
            window *= 16
        except LookupError:
            return None
    return None


def _from_header(fields: dict[int, Any], start: int, length: int) -> _Page:
    """Give the page that a header describes; LookupError for other pages than Spark writes."""
    values = 0
    if fields[1] == 0:
        values, encoding, *levels = (fields[5][number] for number in (1, 2, 3, 4))
        if levels != [_RLE, _RLE]:
            raise KeyError("levels")
    elif fields[1] == 2:
        encoding = fields[7][2]
    else:
        raise KeyError("type")
    return _Page(
        start + length,
        fields[3],
        length + fields[2],
        fields[4] & 0xFFFFFFFF,
        values,
        _ENCODINGS[encoding],
    )


def _crc(file: BinaryIO, page: _Page) -> int:
    file.seek(page.start)
    crc, left = 0, page.length
    while left and (data := file.read(min(left, _CHUNK))):
        crc = isal_zlib.crc32(data, crc)
        left -= len(data)
    return crc


class _Compact:
    """Reads Thrift's compact protocol.

    IndexError where the bytes do not suffice, other LookupErrors where the fields are not those
    that are expected.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def struct(self, expected: Struct) -> dict[int, Any]:
        """Read a struct as its fields by number."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._integer()
            fields[number] = self._value(kind, expected[number])
        return fields

    def _value(self, kind: int, expected: int | Struct) -> Any:
        if not isinstance(expected, int) and kind == _STRUCT:
            return self.struct(expected)
        if expected == _BOOLEAN and kind in (1, 2):
            # It stands in its type.
            return kind == 1
        if kind != expected:
            raise KeyError(kind)
        if kind == _TEXT:
            return self._skip(self._unsigned())
        return self._integer()

    def _skip(self, length: int) -> None:
        self.place += length
        if self.place > len(self._data):
            raise IndexError

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _integer(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
