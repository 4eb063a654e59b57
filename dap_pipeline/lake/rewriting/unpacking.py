"""Unpacks gzip parts before DuckDB reads them.

DuckDB would unpack each part twice, to write its rows and to count its properties, does it half as
fast, never looks at the checksum, and reads a packed file with one thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dap_pipeline.dap.stopping import Stop
from dap_pipeline.dap.verify import unpacked
from dap_pipeline.errors import DamagedObjectError, MisfitError
from dap_pipeline.lake.rewriting.inspecting import LONGEST_LINE


def unpack(parts: Sequence[Path], folder: Path, threads: int) -> list[Path]:
    """Write the text of each part into the folder, as a file of the part's name.

    A part that has a line too long for DuckDB is left unfinished behind it: it may be endless.

    Raises:
        MisfitError: a part is not a whole gzip file.
    """
    targets = [folder / str(index) / part.name for index, part in enumerate(parts)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_unpack, parts, targets))


def _unpack(part: Path, target: Path) -> Path:
    if part.suffix != ".gz":
        return part
    target.parent.mkdir(mode=0o700)
    # So long is the line that is not finished yet.
    length = 0
    try:
        with target.open("wb") as file:
            for text in unpacked(part, Stop()):
                file.write(text)
                end = text.rfind(b"\n")
                length = length + len(text) if end < 0 else len(text) - end - 1
                if length > LONGEST_LINE:
                    break
    except DamagedObjectError:
        raise MisfitError(f"{part.name} is not a whole gzip file") from None
    return target
