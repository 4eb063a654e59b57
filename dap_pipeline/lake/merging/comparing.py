"""Tells what a snapshot changed, against the version that it replaces.

Only keys and instants are read, of both. Without this, what happened between the last increment and
a snapshot would be missing from the changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.columns import META_TS, TableShape
from dap_pipeline.lake.duck import RewriteOptions, fetch
from dap_pipeline.lake.merging.merge import merging
from dap_pipeline.lake.merging.plan import ChangeCounts, Records
from dap_pipeline.lake.merging.read import sources
from dap_pipeline.lake.merging.write import write_changes
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.sql import literal


@dataclass(frozen=True)
class Compared:
    """What a snapshot changed."""

    changes: WrittenFile | None
    """What became of each key that changed (``changes_shape``); None when none did."""
    counts: ChangeCounts


def cannot_compare(before: TableShape, after: TableShape, *, remasked: bool) -> str:
    """Say why the keys of two versions tell nothing of each other; empty if they do."""
    if before.key != after.key:
        return "its key is another one than before"
    pairs = [(before.column(name), after.column(name)) for name in after.key]
    if any(old.kind is not new.kind for old, new in pairs):
        return "its key has another type than before"
    if any(old.masked is not new.masked or (remasked and new.masked) for old, new in pairs):
        return "its key is masked otherwise than before"
    return ""


def compare(
    before: Sequence[Path],
    after: Sequence[Path],
    *,
    shape: TableShape,
    at: datetime,
    work: Path,
    options: RewriteOptions,
) -> Compared:
    """Compare the keys and instants of a published version with those of a snapshot.

    Args:
        before: files of the published version, whose key ``cannot_compare`` has nothing against.
        after: tidy files of the snapshot.
        shape: the table's columns with the snapshot.
        at: DAP's instant of the snapshot; that of deletions, which nothing else tells.
        work: folder for the file of changes.
        options: what may be used; beyond its memory, data is spilled.

    Raises:
        StorageError: the disk is full or may not be written.
        LakeError: the memory does not suffice.
    """
    with merging(work, options) as connection:
        _make_change(connection, before, after, shape, at)
        by_change = dict(fetch(connection, "SELECT change, count(*) FROM change GROUP BY change"))
        return Compared(
            write_changes(connection, shape, work),
            ChangeCounts(
                inserted=by_change.get("insert", 0),
                updated=by_change.get("update", 0),
                deleted=by_change.get("delete", 0),
                unchanged=_rows(connection, after, shape)
                - by_change.get("insert", 0)
                - by_change.get("update", 0),
            ),
        )


def can_be_read(paths: Sequence[Path], shape: TableShape, options: RewriteOptions) -> bool:
    """Tell whether files can be read whole, and their keys and instants as those of ``shape``."""
    try:
        with merging(options.temp_dir, options) as connection:
            # Without hash(), DuckDB would count the rows by the files' footers alone.
            keys = Records((), shape).key_names
            fetch(connection, f"SELECT sum(hash({keys}, meta_ts)) FROM ({_keys(paths, shape)})")
            for each in sources(paths)[0]:
                fetch(connection, f"SELECT sum(hash(whole)) FROM {each.relation} AS whole")
    except LakeError:
        return False
    return True


def _make_change(
    connection: duckdb.DuckDBPyConnection,
    before: Sequence[Path],
    after: Sequence[Path],
    shape: TableShape,
    at: datetime,
) -> None:
    """Make the table ``change``, of the keys that changed."""
    keys = Records((), shape).key_names
    instant = f"CAST({literal(at.isoformat())} AS TIMESTAMPTZ)"
    connection.execute(
        "CREATE OR REPLACE TABLE change AS"
        f" SELECT {keys}, CASE WHEN o.known IS NULL THEN 'insert' WHEN n.known IS NULL"
        " THEN 'delete' ELSE 'update' END AS change,"
        f" CASE WHEN n.known IS NULL THEN {instant} ELSE n.meta_ts END AS meta_ts"
        f" FROM ({_keys(before, shape)}) o FULL JOIN ({_keys(after, shape)}) n USING ({keys})"
        " WHERE o.known IS NULL OR n.known IS NULL OR o.meta_ts IS DISTINCT FROM n.meta_ts"
    )


def _rows(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path], shape: TableShape) -> int:
    return int(fetch(connection, f"SELECT count(*) FROM ({_keys(paths, shape)})")[0][0])


def _keys(paths: Sequence[Path], shape: TableShape) -> str:
    """Write the query of the keys and instants of files, which may be of several schemas."""
    found, _ = sources(paths)
    records = Records(tuple(found), shape)
    return " UNION ALL ".join(
        f"SELECT {records.keys_of(each)}, true AS known FROM {each.relation}" for each in found
    ) or _no_keys(records)


def _no_keys(records: Records) -> str:
    named = [*zip(records.key, records.key_names.split(", "), strict=True), (META_TS, "meta_ts")]
    values = ", ".join(f"CAST(NULL AS {column.duckdb_type}) AS {name}" for column, name in named)
    return f"SELECT {values}, true AS known WHERE false"
