"""Compares the pages of a Parquet file with the checksums that their writer has left.

parquet-java, and so Spark, leaves one in the header of every page unless told otherwise. Where all
are right, the pages hold the very bytes that were written: decoding them would say no more about
their way here, and take twenty times as long. The headers stand before the pages, in Thrift's
compact protocol; so the pages that follow one another are compared while the file arrives. No
checksum covers the headers: they are held against the footer, which comes last and tells where the
pages are. What is not as Spark writes it (pages of version 2, say) is not vouched for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
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
# Behind the magic.
_FIRST = 4
# So many are kept of a file, in 3 MB: those of one with tiny pages are read when it is all here.
_MOST_PAGES = 1 << 13

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


@dataclass(frozen=True, slots=True)
class _Page:
    start: int
    length: int
    unpacked: int
    """Bytes of the page before it was packed, with its header."""
    crc: int
    values: int
    encoding: str

    @property
    def end(self) -> int:
        return self.start + self.length


class Pages:
    """The pages of a file that may still be growing; one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._right: dict[int, _Page] = {}
        """The pages that are of their checksum, by the places of their headers."""
        self._place = _FIRST

    def compare(self, stop: Stop) -> None:
        """Compare the pages that have come since the last call; what is odd waits for the footer.

        Raises:
            CancelledError: a stop was asked for meanwhile.
        """
        with self._path.open("rb") as file:
            here = os.fstat(file.fileno()).st_size
            while len(self._right) < _MOST_PAGES:
                stop.check()
                page = _right_page(file, self._place, here)
                if page is None:
                    # Odd, or not all here: the next call tries anew, and the footer will tell.
                    return
                self._right[self._place] = page
                self._place = page.end

    def are_as_written(self, metadata: pq.FileMetaData, stop: Stop) -> bool:
        """Tell whether every page has a checksum and is of it, now that the file is all here.

        What else is odd makes it False too. Pages that are compared already are not read again.

        Raises:
            CancelledError: a stop was asked for meanwhile.
        """
        with self._path.open("rb") as file:
            return all(
                self._is_as_written(file, metadata.row_group(group).column(number), stop)
                for group in range(metadata.num_row_groups)
                for number in range(metadata.num_columns)
            )

    def _is_as_written(self, file: BinaryIO, chunk: pq.ColumnChunkMetaData, stop: Stop) -> bool:
        place = _start(chunk)
        if place < _FIRST:
            return False
        end = place + chunk.total_compressed_size
        encodings = chunk.encodings
        values = unpacked = 0
        while place < end:
            stop.check()
            page = self._right.get(place) or _right_page(file, place, end)
            if page is None or page.end > end or page.encoding not in encodings:
                return False
            values += page.values
            unpacked += page.unpacked
            place = page.end
        return (values, unpacked) == (chunk.num_values, chunk.total_uncompressed_size)


def _start(chunk: pq.ColumnChunkMetaData) -> int:
    """Say where the first of the pages has its header."""
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        return min(chunk.data_page_offset, chunk.dictionary_page_offset)
    return chunk.data_page_offset


def _right_page(file: BinaryIO, start: int, end: int) -> _Page | None:
    """Give the page whose header begins there, if it is of its checksum and ends in time."""
    page = _page(file, start)
    if page is None or page.length < 0 or page.end > end or _crc(file, page) != page.crc:
        return None
    return page


def _page(file: BinaryIO, start: int) -> _Page | None:
    """Read the header of a page, which may hold texts of any length."""
    window = _HEADER
    while window <= _LONGEST_HEADER:
        file.seek(start)
        data = file.read(window)
        reader = _Compact(data)
        try:
            return _from_header(reader.struct(_PAGE), start, reader.place)
        except IndexError:
            if len(data) < window:
                return None
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
