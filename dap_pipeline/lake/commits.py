"""What a commit in a table's Delta log tells about the load that made it.

The commit files are read as they are: the ``history`` of delta-rs (1.6) numbers the versions
wrongly when an earlier version of the table is open.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dap_pipeline.lake.records import LoadKind, LoadRecord

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

    @property
    def transaction(self) -> str:
        """Name of the Delta application transaction that keeps the load from being repeated."""
        return f"{METADATA_KEY}:{self.job_id}"

    def metadata(self, rows: int) -> dict[str, Any]:
        """Describe the load for its commit."""
        return {
            "kind": self.kind.value,
            "job_id": self.job_id,
            "schema_version": self.schema_version,
            "at": self.at.isoformat(),
            "since": None if self.since is None else self.since.isoformat(),
            "rows": rows,
        }


def load_records(table: Path, newest: int | None = None) -> Iterator[LoadRecord]:
    """Yield the loads in the log of a table's folder, the newest first.

    Commits of other programs (an OPTIMIZE, say) are left out, and so are loads whose commits have
    expired from the log.
    """
    log = table / LOG_FOLDER
    versions = sorted((int(f.stem) for f in log.glob("*.json") if f.stem.isdigit()), reverse=True)
    for version in versions:
        if newest is None or version <= newest:
            record = _read(log / f"{version:020d}.json", version)
            if record is not None:
                yield record


def load_record_at(table: Path, version: int) -> LoadRecord | None:
    """Give the load that made a version, or the last one before it."""
    latest = _read(table / LOG_FOLDER / f"{version:020d}.json", version)
    return latest or next(load_records(table, version), None)


def _read(commit: Path, version: int) -> LoadRecord | None:
    try:
        lines = commit.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        # The other actions (the schema, the files) need not be parsed.
        if line.startswith('{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
            load = info.get(METADATA_KEY)
            return None if load is None else _record(load, info, version)
    return None


def _record(load: dict[str, Any], info: dict[str, Any], version: int) -> LoadRecord:
    since = load["since"]
    return LoadRecord(
        kind=LoadKind(load["kind"]),
        job_id=load["job_id"],
        schema_version=load["schema_version"],
        at=datetime.fromisoformat(load["at"]),
        since=None if since is None else datetime.fromisoformat(since),
        committed_at=datetime.fromtimestamp(info["timestamp"] / 1000, UTC),
        version=version,
        rows=load["rows"],
    )
