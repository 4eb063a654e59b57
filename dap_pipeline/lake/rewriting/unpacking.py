"""Unpacks gzip parts before DuckDB reads them.

DuckDB would unpack each part twice, to write its rows and to count its properties, does it half as
fast, never looks at the checksum, and reads a packed file with one thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.verify import unpacked
from dap_pipeline.errors import DamagedObjectError, MisfitError
from dap_pipeline.lake.rewriting.inspecting import LONGEST_LINE


@dataclass(frozen=True)
class Texts:
    """Unpacked parts."""

    paths: tuple[Path, ...] = ()
    longest: int = LONGEST_LINE
    """No line has more bytes, or it is too long for DuckDB."""


def unpack(parts: Sequence[Path], folder: Path, threads: int) -> Texts:
    """Write the text of each part into the folder, as a file of the part's name.

    A part that has a line too long for DuckDB is left unfinished behind it: it may be endless.

    Raises:
        MisfitError: a part is not a whole gzip file.
    """
    targets = [folder / str(index) / part.name for index, part in enumerate(parts)]
    with ThreadPoolExecutor(threads) as pool:
        longest = list(pool.map(_unpack, parts, targets))
    packed = [part.suffix == ".gz" for part in parts]
    paths = (t if was else p for p, t, was in zip(parts, targets, packed, strict=True))
    return Texts(tuple(paths), max(longest, default=0))


def _unpack(part: Path, target: Path) -> int:
    """Unpack a part if it is packed, and tell a length that its lines do not exceed."""
    if part.suffix != ".gz":
        return LONGEST_LINE
    target.parent.mkdir(mode=0o700)
    # So long is the line that is not finished yet.
    length, longest = 0, 0
    try:
        with target.open("wb") as file:
            for text in unpacked(part, Stop()):
                file.write(text)
                longest = max(longest, length + len(text))
                end = text.rfind(b"\n")
                length = length + len(text) if end < 0 else len(text) - end - 1
                if length > LONGEST_LINE:
                    break
    except DamagedObjectError:
        raise MisfitError(f"{part.name} is not a whole gzip file") from None
    return longest
