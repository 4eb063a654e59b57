"""Decodes a downloaded file to its end, to know that it is whole.

A cut gzip file, or a Parquet file with altered pages, has the right name and perhaps the right
length; only decoding shows it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from isal import isal_zlib

from dap_pipeline.dap.models import Format
from dap_pipeline.dap.parquet_pages import pages_are_as_written
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
        verify_magic(path, format)
        _check_parquet(path, stop)
    else:
        for _ in unpacked(path, stop):
            pass


def _kind(format: Format) -> str:
    return "Parquet" if format is Format.PARQUET else "gzip"


def unpacked(path: Path, stop: Stop) -> Iterator[bytes]:
    """Yield the text of a gzip file, of which all members are decoded.

    Raises:
        DamagedObjectError: it is cut, altered or no gzip file.
        CancelledError: a stop was asked for meanwhile.
    """
    verify_magic(path, Format.JSONL)
    try:
        with path.open("rb") as file:
            left = file.read(_CHUNK)
            while left:
                left = yield from _decoded_member(file, left, stop)
                left = left or file.read(_CHUNK)
    except (isal_zlib.error, EOFError) as error:  # type: ignore[misc]  # a class, not an instance
        raise DamagedObjectError(f"{path.name} cannot be unpacked ({error})") from None


def _decoded_member(file: BinaryIO, data: bytes, stop: Stop) -> Generator[bytes, None, bytes]:
    """Yield the text of one member and return the bytes behind it that were read already."""
    decoder = isal_zlib.decompressobj(_GZIP)
    stop.check()
    text = decoder.decompress(data, _INFLATE)
    while not decoder.eof:
        yield text
        stop.check()
        data = decoder.unconsumed_tail
        if not data and len(text) < _INFLATE:
            data = file.read(_CHUNK)
            if not data:
                raise EOFError("it ends too early")
        text = decoder.decompress(data, _INFLATE)
    yield text
    return decoder.unused_data


def _check_parquet(path: Path, stop: Stop) -> None:
    """Compare the checksums of the pages; without them, decode the pages."""
    with _parquet(path) as file:
        if pages_are_as_written(path, file.metadata, stop):
            return
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
