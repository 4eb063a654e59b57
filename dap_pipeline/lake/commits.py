"""What a commit in a table's Delta log tells about the load that made it.

The commit files are read as they are: the ``history`` of delta-rs (1.6) numbers the versions
wrongly when an earlier version of the table is open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dap_pipeline.lake.evolution import ShapeChange, What
from dap_pipeline.lake.merging.merge import ChangeCounts
from dap_pipeline.lake.records import Gap, LoadKind, LoadMode, LoadRecord

LOG_FOLDER = "_delta_log"
METADATA_KEY = "dap_pipeline"


@dataclass(frozen=True)
class NewLoad:
    """A load that is about to be published."""

    kind: LoadKind
    job_id: str
    schema_version: int
    at: datetime
    since: datetime | None = None
    base_version: int | None = None
    """Version of the table that the load started from; None where there was no table."""
    mode: LoadMode = LoadMode.SNAPSHOT
    reason: str = ""
    counts: ChangeCounts | None = None
    schema_changes: tuple[ShapeChange, ...] = ()
    gap: Gap | None = None
    lineage: int = 0
    """See ``LoadRecord.lineage``; that of the base."""
    restored_from: int | None = None
    snapshot_at: datetime | None = None
    """See ``LoadRecord.snapshot_at``; that of the base. A snapshot has the time of its commit."""

    @property
    def transaction(self) -> str:
        """Name of the Delta application transaction that keeps the load from being repeated."""
        if self.restored_from is not None:
            return f"{METADATA_KEY}:restore:{self.version}"
        after_restore = f"@{self.lineage}" if self.lineage else ""
        return f"{METADATA_KEY}:{self.job_id}{after_restore}"

    @property
    def version(self) -> int:
        """The version that the load becomes, or it is not published."""
        return 0 if self.base_version is None else self.base_version + 1

    @property
    def _is_new_snapshot(self) -> bool:
        return self.kind is LoadKind.SNAPSHOT and self.restored_from is None

    def metadata(self, rows: int, changes_file: str | None = None) -> dict[str, Any]:
        """Describe the load for its commit."""
        known: dict[str, Any] = {
            "kind": self.kind.value,
            "job_id": self.job_id,
            "schema_version": self.schema_version,
            "at": self.at.isoformat(),
            "since": None if self.since is None else self.since.isoformat(),
            "rows": rows,
            "mode": self.mode.value,
            "reason": self.reason,
            "counts": None if self.counts is None else asdict(self.counts),
            "schema_changes": [asdict(change) for change in self.schema_changes],
            "lineage": self.lineage,
        }
        if self.gap is not None:
            known["gap"] = [self.gap.since.isoformat(), self.gap.until.isoformat()]
        if self.restored_from is not None:
            known["restored_from"] = self.restored_from
        if self.snapshot_at is not None and not self._is_new_snapshot:
            known["snapshot_at"] = self.snapshot_at.isoformat()
        if changes_file is not None:
            known["changes_file"] = changes_file
        return known


@dataclass(frozen=True)
class Commit:
    """One commit of a table's log."""

    version: int
    load: LoadRecord | None
    """None for a commit of another program (an OPTIMIZE, say)."""
    added: frozenset[str] = frozenset()
    """Names of files."""
    removed: frozenset[str] = frozenset()


def commits(
    table: Path, newest: int | None = None, *, with_files: bool = False
) -> Iterator[Commit]:
    """Yield the commits in the log of a table's folder, the newest first.

    Commits that have expired from the log are left out.

    Args:
        table: folder of the table.
        newest: version to begin with; None for the current one.
        with_files: read the names of the files, too.
    """
    for version in _logged_versions(table):
        if newest is None or version <= newest:
            commit = _read(table, version, with_files=with_files)
            if commit is not None:
                yield commit


def load_records(table: Path, newest: int | None = None) -> Iterator[LoadRecord]:
    """Yield the loads in the log of a table's folder, the newest first."""
    for commit in commits(table, newest):
        if commit.load is not None:
            yield commit.load


def load_record_at(table: Path, version: int) -> LoadRecord | None:
    """Give the load that made a version, or the last one before it."""
    return next(load_records(table, version), None)


def _logged_versions(table: Path) -> list[int]:
    try:
        names = [name.partition(".") for name in os.listdir(table / LOG_FOLDER)]  # noqa: PTH208
    except FileNotFoundError:
        return []
    found = (int(stem) for stem, _, end in names if end == "json" and stem.isdigit())
    return sorted(found, reverse=True)


def _read(table: Path, version: int, *, with_files: bool) -> Commit | None:
    try:
        # Many files at a time are read: paths as objects would take longer than that.
        with open(f"{table}/{LOG_FOLDER}/{version:020d}.json", encoding="utf-8") as file:  # noqa: PTH123
            lines = file.readlines()
    except FileNotFoundError:
        return None
    load = None
    files: dict[str, set[str]] = {"add": set(), "remove": set()}
    for line in lines:
        # The other actions (the schema, say) need not be parsed.
        if line.startswith('{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
            told = info.get(METADATA_KEY)
            load = None if told is None else _record(told, info, version)
        elif with_files and line.startswith(('{"add"', '{"remove"')):
            ((word, action),) = json.loads(line).items()
            files[word].add(unquote(action["path"]))
    return Commit(version, load, frozenset(files["add"]), frozenset(files["remove"]))


def _record(load: dict[str, Any], info: dict[str, Any], version: int) -> LoadRecord:
    since, counts, gap = load["since"], load.get("counts"), load.get("gap")
    kind, restored_from = LoadKind(load["kind"]), load.get("restored_from")
    committed_at = datetime.fromtimestamp(info["timestamp"] / 1000, UTC)
    is_new_snapshot = kind is LoadKind.SNAPSHOT and restored_from is None
    return LoadRecord(
        kind=kind,
        job_id=load["job_id"],
        schema_version=load["schema_version"],
        at=datetime.fromisoformat(load["at"]),
        since=_instant(since),
        committed_at=committed_at,
        version=version,
        rows=load["rows"],
        # Loads of before there were increments lack what follows.
        mode=LoadMode(load.get("mode", LoadMode.SNAPSHOT)),
        reason=load.get("reason", ""),
        counts=None if counts is None else ChangeCounts(**counts),
        schema_changes=tuple(_change(change) for change in load.get("schema_changes", ())),
        gap=None if gap is None else Gap(*map(datetime.fromisoformat, gap)),
        restored_from=restored_from,
        lineage=load.get("lineage", 0),
        snapshot_at=committed_at if is_new_snapshot else _instant(load.get("snapshot_at")),
        changes_file=load.get("changes_file"),
    )


def _instant(kept: str | None) -> datetime | None:
    return None if kept is None else datetime.fromisoformat(kept)


def _change(kept: dict[str, Any]) -> ShapeChange:
    return ShapeChange(**{**kept, "what": What(kept["what"])})
