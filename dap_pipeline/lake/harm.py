"""Finds out that published files are harmed, and what helps: a snapshot in their place."""

from __future__ import annotations

from pathlib import Path

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.demand import Demand
from dap_pipeline.lake.merging.accumulating import accumulating
from dap_pipeline.lake.records import LoadMode, PublishedTable

UNREADABLE = "published files cannot be read"


def lost_files(table: PublishedTable) -> str:
    """Say which published files are gone or cut short, without reading them; empty if none is."""
    lost = [file.path.name for file in table.base if _size(file.path) != file.bytes]
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"{lost[0]}{more} is gone or has another size" if lost else ""


def snapshot_in_place_of(table: PublishedTable, mode: LoadMode, harm: str) -> Demand:
    """Demand a snapshot in place of harmed files.

    Raises:
        LakeError: the mode forbids one, or it would not bring the rows of a log back.
    """
    place = table.name.namespace, table.name.table
    if accumulating(table.name, table.shape):
        raise LakeError(
            f"{harm}, and DAP no longer has all their rows",
            advice="Put the files back from a backup; or remove the table's folder from the lake "
            "and load it anew, with what DAP still has.",
        ).at(*place)
    if mode is LoadMode.INCREMENTAL:
        advice = "Load the table with `--mode snapshot` or `auto`, or put the files back."
        raise LakeError(harm, advice=advice).at(*place)
    return Demand(harm, table.load.at, table.load.schema_version, again=True)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
