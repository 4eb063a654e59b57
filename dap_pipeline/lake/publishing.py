"""Commits a load to a Delta table: its files and columns in one step, or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConcurrentLoadError, LakeError, StorageError
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.commits import LOG_FOLDER, METADATA_KEY, NewLoad
from dap_pipeline.lake.folders import (
    make_files_private,
    make_private,
    refused_by_storage,
    storage_errors,
)
from dap_pipeline.lake.merging.merge import BaseFile
from dap_pipeline.lake.moving import Moved, linked, moved_into, stem_of
from dap_pipeline.lake.past import Restoring
from dap_pipeline.lake.rewriting.rewrite import WrittenFile

CHANGES_FOLDER = "_changes"
"""Readers of Delta tables pass over names that begin with an underscore."""

# A version can be opened as long as its commit is in the log; removed files and transactions are
# remembered as long, so that vacuuming and the check for repeated loads know of them.
CONFIGURATION = {
    "delta.logRetentionDuration": "interval 60 days",
    "delta.deletedFileRetentionDuration": "interval 60 days",
    "delta.setTransactionRetentionDuration": "interval 60 days",
    "delta.checkpointInterval": "10",
}


class _AppliedMeanwhileError(Exception):
    """Another process has published the same job: its files are as good as ours."""


@dataclass(frozen=True)
class Content:
    """What a version of a table shall hold."""

    shape: TableShape
    files: Sequence[WrittenFile]
    """New files, which are moved into the table."""
    kept: Sequence[BaseFile] = ()
    """Files of the base version that stay."""
    removed: Sequence[BaseFile] | None = None
    """Files of the base version that go; None where nothing of it stays."""
    changes: WrittenFile | None = None
    """What the load changed; it is moved aside, and named in the commit."""


def publish(folder: Path, name: TableName, content: Content, load: NewLoad) -> None:
    """Commit the content of the table; see ``Lake.publish``."""
    delta = open_table(folder)
    if _is_applied(delta, load):
        return
    if (None if delta is None else delta.version()) != load.base_version:
        raise _overtaken(name, load)
    with storage_errors(f"write into {folder}"):
        make_private(folder / LOG_FOLDER)
        with contextlib.suppress(_AppliedMeanwhileError):
            _move_and_commit(folder, delta, name, content, load)
        _describe(folder, content.shape)
        make_files_private(folder / LOG_FOLDER)


def publish_again(folder: Path, name: TableName, restoring: Restoring) -> None:
    """Commit the files of an earlier version, which lie in the folder."""
    delta, load, shape = open_table(folder), restoring.load, restoring.earlier.shape
    if delta is None or delta.version() != load.base_version:
        raise _overtaken(name, load)
    content = Content(shape, (), restoring.kept, restoring.removed)
    moved = Moved([(file.path, _written(file)) for file in restoring.added])
    with storage_errors(f"write into {folder}"):
        # Vacuuming judges by the time whether a file that no version has is in use.
        for path, _ in moved.files:
            os.utime(path)
        _commit(folder, delta, name, content, moved, None, load)
        _describe(folder, shape)
        make_files_private(folder / LOG_FOLDER)


def _written(file: BaseFile) -> WrittenFile:
    return WrittenFile(file.path, file.rows, file.bytes, file.key_min, file.key_max)


def _move_and_commit(
    folder: Path, delta: DeltaTable | None, name: TableName, content: Content, load: NewLoad
) -> None:
    def is_committed(moved: Moved) -> bool:
        return _is_committed(open_table(folder), moved, load)

    mark = load.at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    with moved_into(folder, content.files, stem_of(load.kind.value, mark), is_committed) as moved:
        if content.changes is None:
            _commit(folder, delta, name, content, moved, None, load)
            return
        aside = folder / CHANGES_FOLDER
        make_private(aside)

        def is_told(_: Moved) -> bool:
            return is_committed(moved)

        stem = stem_of(f"changes-{load.version:08d}", mark)
        with moved_into(aside, [content.changes], stem, is_told) as changes:
            _commit(folder, delta, name, content, moved, changes.files[0][0].name, load)


def _describe(folder: Path, shape: TableShape) -> None:
    """Renew the description of the table, which cannot be part of the commit of a load."""
    with contextlib.suppress(DeltaError):
        delta = DeltaTable(str(folder))
        if (delta.metadata().description or "") != shape.description:
            delta.alter.set_table_description(shape.description)


def open_table(folder: Path) -> DeltaTable | None:
    """Open a Delta table; None if there is none."""
    if not (folder / LOG_FOLDER).is_dir():
        return None
    try:
        return DeltaTable(str(folder))
    except TableNotFoundError:
        return None


def _is_applied(delta: DeltaTable | None, load: NewLoad) -> bool:
    return delta is not None and delta.transaction_version(load.transaction) is not None


def _commit(
    folder: Path,
    delta: DeltaTable | None,
    name: TableName,
    content: Content,
    moved: Moved,
    changes_file: str | None,
    load: NewLoad,
) -> None:
    rows = moved.rows + sum(file.rows for file in content.kept)
    properties = CommitProperties(
        custom_metadata={METADATA_KEY: load.metadata(rows, changes_file)},
        app_transactions=[Transaction(load.transaction, 1)],
        max_commit_retries=0,
    )
    try:
        if delta is None:
            create(folder, name.table, content, moved, properties)
        else:
            replace(folder, delta, content, moved, properties)
    except (DeltaError, OSError) as error:
        # What failed may have been the checkpoint that follows the commit.
        now = open_table(folder)
        if _is_committed(now, moved, load):
            return
        if _is_applied(now, load):
            raise _AppliedMeanwhileError from error
        raise _explained(error, now, folder, name, load) from error


def create(
    folder: Path, name: str, content: Content, moved: Moved, properties: CommitProperties
) -> None:
    """Make a Delta table of files that lie in its folder."""
    create_table_with_add_actions(
        str(folder),
        Schema.from_json(content.shape.delta_schema()),
        [add_action(path, file) for path, file in moved.files],
        mode="error",
        name=name,
        description=content.shape.description,
        configuration=CONFIGURATION,
        commit_properties=properties,
    )


def replace(
    folder: Path,
    delta: DeltaTable,
    content: Content,
    moved: Moved,
    properties: CommitProperties,
) -> None:
    """Commit files that lie in the folder of a Delta table in place of others."""
    adds = [add_action(path, file) for path, file in moved.files]
    schema = Schema.from_json(content.shape.delta_schema())
    if content.removed is None:
        delta.create_write_transaction([*adds], "overwrite", schema, commit_properties=properties)
        return
    if Schema.from_json(delta.schema().to_json()) == schema:
        removes = [remove_action(file.path.name, file.bytes) for file in content.removed]
        delta.create_write_transaction(
            [*adds, *removes], "append", schema, commit_properties=properties
        )
        return
    # delta-rs (1.6) changes a schema only in a commit that removes all files, and a commit cannot
    # both remove and add one name. So the files that stay are added by a second name.
    with _renamed(folder, content.kept) as kept:
        delta.create_write_transaction(
            [*adds, *kept], "overwrite", schema, commit_properties=properties
        )


@contextlib.contextmanager
def _renamed(folder: Path, kept: Sequence[BaseFile]) -> Iterator[list[AddAction]]:
    stem = stem_of("kept", time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    actions = []
    for index, file in enumerate(kept):
        target = folder / f"{stem}-{index:05d}.parquet"
        linked(file.path, target)
        # Vacuuming would take it for left over, as long as it is not committed.
        os.utime(target)
        actions.append(add_action(target, _written(file)))
    # Names of a commit that fails are left to vacuuming.
    yield actions


def _is_committed(delta: DeltaTable | None, moved: Moved, load: NewLoad) -> bool:
    """Tell whether it is these files that the load's transaction brought."""
    if delta is None or not _is_applied(delta, load):
        return False
    return moved.names <= {Path(uri).name for uri in delta.file_uris()}


def _explained(
    error: Exception, now: DeltaTable | None, folder: Path, name: TableName, load: NewLoad
) -> LakeError:
    reason = refused_by_storage(str(error))
    if reason is not None:
        return StorageError(f"could not commit to {folder}: {reason}")
    version = None if now is None else now.version()
    if isinstance(error, CommitFailedError) or version != load.base_version:
        return _overtaken(name, load)
    return LakeError(f"could not commit to {folder}: {error}").at(
        name.namespace, name.table, load.job_id
    )


def _overtaken(name: TableName, load: NewLoad) -> ConcurrentLoadError:
    started = "no table" if load.base_version is None else f"version {load.base_version}"
    return ConcurrentLoadError(
        f"another load was published since this one started from {started}"
    ).at(name.namespace, name.table, load.job_id)


def add_action(path: Path, file: WrittenFile) -> AddAction:
    """Describe a file that is added, with what readers need to pass over it."""
    stats = {
        "numRecords": file.rows,
        "minValues": dict(file.key_min),
        "maxValues": dict(file.key_max),
        "nullCount": dict.fromkeys(file.key_min, 0),
    }
    status = path.stat()
    return AddAction(
        path=path.name,
        size=status.st_size,
        partition_values={},
        modification_time=int(status.st_mtime * 1000),
        data_change=True,
        stats=json.dumps(stats),
    )


def remove_action(name: str, size: int) -> RemoveAction:
    """Describe a file that is removed now."""
    return RemoveAction(
        path=name,
        data_change=True,
        deletion_timestamp=int(time.time() * 1000),
        size=size,
        partition_values={},
    )
