"""Decodes a downloaded file to its end, to know that it is whole.

A cut gzip file, or a Parquet file with altered pages, has the right name and perhaps the right
length; only decoding shows it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from isal import isal_zlib

from dap_pipeline.dap.models import Format
from dap_pipeline.dap.parquet_pages import Pages
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import DamagedObjectError

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_GZIP = 16 + isal_zlib.MAX_WBITS
# Packed bytes, and decoded text, that are held at once: a gzip bomb cannot fill memory, and memory
# that the processor's cache holds is decoded into twice as fast as megabytes of it.
_CHUNK = 1 << 16
_INFLATE = 1 << 18
_BATCH_ROWS = 16_384
_BUFFER = 1 << 20


def verify_magic(path: Path, format: Format) -> None:
    """Look only at the first and last bytes.

    Raises:
        DamagedObjectError: they are not those of the format.
    """
    magic = _PARQUET_MAGIC if format is Format.PARQUET else _GZIP_MAGIC
    with path.open("rb") as file:
        start = file.read(len(magic))
        if format is Format.PARQUET and start == magic:
            # Magic, length of the footer and magic again: nothing shorter is a file.
            file.seek(max(path.stat().st_size - len(magic), 8))
            start = file.read()
    if start != magic:
        raise DamagedObjectError(f"{path.name} is not a {_kind(format)} file")


def verify_whole(path: Path, format: Format, stop: Stop) -> None:
    """Decode every byte of the file.

    Raises:
        DamagedObjectError: it is cut, altered or of another format.
        CancelledError: a stop was asked for meanwhile.
    """
    if format is Format.PARQUET:
        verify_parquet(path, Pages(path), stop)
    else:
        for _ in unpacked(path, stop):
            pass


def verify_parquet(path: Path, pages: Pages, stop: Stop) -> None:
    """Compare the checksums of the pages that are not yet compared; without them, decode the pages.

    Raises:
        DamagedObjectError: it is cut, altered or of another format.
        CancelledError: a stop was asked for meanwhile.
    """
    verify_magic(path, Format.PARQUET)
    with _parquet(path) as file:
        if not pages.are_as_written(file.metadata, stop):
            _decode(path, file, stop)


def _kind(format: Format) -> str:
    return "Parquet" if format is Format.PARQUET else "gzip"


def unpacked(path: Path, stop: Stop) -> Iterator[bytes]:
    """Yield the text of a gzip file, of which all members are decoded.

    Raises:
        DamagedObjectError: it is cut, altered or no gzip file.
        CancelledError: a stop was asked for meanwhile.
    """
    unpacking = Unpacking(path)
    yield from unpacking.texts(stop)
    unpacking.end()


class Unpacking:
    """Decodes a gzip file that may still be growing; one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self._text = GzipText()

    def texts(self, stop: Stop) -> Iterator[bytes]:
        """Yield the text of what the file holds now beyond the last call.

        Raises:
            DamagedObjectError: it is altered or no gzip file.
            CancelledError: a stop was asked for meanwhile.
        """
        if not self._place:
            verify_magic(self._path, Format.JSONL)
        with self._path.open("rb") as file:
            file.seek(self._place)
            while data := file.read(_CHUNK):
                self._place += len(data)
                try:
                    for text in self._text.feed(data):
                        stop.check()
                        yield text
                except isal_zlib.error as error:  # type: ignore[misc]  # a class, not an instance
                    raise self._damage(str(error)) from None

    def end(self) -> None:
        """Say that nothing more comes.

        Raises:
            DamagedObjectError: the text has not come to its end.
        """
        if not self._text.is_whole:
            raise self._damage("it ends too early")

    def _damage(self, reason: str) -> DamagedObjectError:
        return DamagedObjectError(f"{self._path.name} cannot be unpacked ({reason})")


class GzipText:
    """The text of gzip members, one after another, whose bytes come piece by piece."""

    def __init__(self) -> None:
        self._decoder = isal_zlib.decompressobj(_GZIP)
        self.is_whole = False
        """Whether the last member has ended, and nothing came after it."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the text of the bytes that come next, a bounded piece at a time."""
        text = b""
        # A full piece may leave more text inside the decoder.
        while data or (len(text) == _INFLATE and not self.is_whole):
            if self._decoder.eof:
                self._decoder = isal_zlib.decompressobj(_GZIP)
            text = self._decoder.decompress(data, _INFLATE)
            self.is_whole = self._decoder.eof
            data = self._decoder.unused_data if self.is_whole else self._decoder.unconsumed_tail
            yield text


def _decode(path: Path, file: pq.ParquetFile, stop: Stop) -> None:
    expected = file.metadata.num_rows
    # Column by column: all at once take three times the memory, and no less time.
    for number in range(len(file.schema)):
        rows = _decoded_rows(file, file.schema.column(number).path, stop)
        if rows != expected:
            raise DamagedObjectError(f"{path.name} holds {rows:,} rows instead of {expected:,}")


def _decoded_rows(file: pq.ParquetFile, column: str, stop: Stop) -> int:
    rows = 0
    for batch in file.iter_batches(_BATCH_ROWS, columns=[column], use_threads=False):
        stop.check()
        rows += batch.num_rows
    return rows


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; what Arrow says of its content is the damage."""
    try:
        # Read as it is decoded: without a buffer, whole columns of a row group are held packed.
        with pq.ParquetFile(
            path, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
        ) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault and not the file's
        reason = " ".join(str(error).split())[:200]
        raise DamagedObjectError(f"{path.name} cannot be decoded ({reason})") from None
