"""Decodes a downloaded file to its end, to know that it is whole.

A cut gzip file, or a Parquet file with altered pages, has the right name and perhaps the right
length; only decoding shows it.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from dap_pipeline.dap.models import Format
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import DamagedObjectError

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_CHUNK = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS
# Decoded text that is held at once: a gzip bomb cannot fill memory.
_INFLATE = 4 << 20
_BATCH_ROWS = 16_384


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
    verify_magic(path, format)
    if format is Format.PARQUET:
        _decode_parquet(path, stop)
    else:
        _decode_gzip(path, stop)


def _kind(format: Format) -> str:
    return "Parquet" if format is Format.PARQUET else "gzip"


def _decode_gzip(path: Path, stop: Stop) -> None:
    """Decode all members: the format allows several, one after another."""
    try:
        with path.open("rb") as file:
            left = file.read(_CHUNK)
            while left:
                stop.check()
                left = _decode_member(file, left, stop)
                left = left or file.read(_CHUNK)
    except (zlib.error, EOFError) as error:
        raise DamagedObjectError(f"{path.name} cannot be unpacked ({error})") from None


def _decode_member(file: BinaryIO, data: bytes, stop: Stop) -> bytes:
    """Decode one member and give the bytes behind it that were read already."""
    decoder = zlib.decompressobj(_GZIP)
    text = decoder.decompress(data, _INFLATE)
    while not decoder.eof:
        stop.check()
        data = decoder.unconsumed_tail
        if not data and len(text) < _INFLATE:
            data = file.read(_CHUNK)
            if not data:
                raise EOFError("it ends too early")
        text = decoder.decompress(data, _INFLATE)
    return decoder.unused_data


def _decode_parquet(path: Path, stop: Stop) -> None:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                stop.check()
                rows += batch.num_rows
            expected = file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault and not the file's
        reason = " ".join(str(error).split())[:200]
        raise DamagedObjectError(f"{path.name} cannot be decoded ({reason})") from None
    if rows != expected:
        raise DamagedObjectError(f"{path.name} holds {rows:,} rows instead of {expected:,}")
