"""Commits a load to a Delta table: its files and columns in one step, or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path

from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConcurrentLoadError, LakeError, StorageError
from dap_pipeline.lake.columns import TableShape
from dap_pipeline.lake.commits import LOG_FOLDER, METADATA_KEY, NewLoad
from dap_pipeline.lake.folders import (
    make_files_private,
    make_private,
    refused_by_storage,
    storage_errors,
    sync,
)
from dap_pipeline.lake.rewrite import WrittenFile

# A version can be opened as long as its commit is in the log; removed files and transactions are
# remembered as long, so that vacuuming and the check for repeated loads know of them.
_CONFIGURATION = {
    "delta.logRetentionDuration": "interval 60 days",
    "delta.deletedFileRetentionDuration": "interval 60 days",
    "delta.setTransactionRetentionDuration": "interval 60 days",
    "delta.checkpointInterval": "10",
}


class _AppliedMeanwhileError(Exception):
    """Another process has published the same job: its files are as good as ours."""


def publish(
    folder: Path, name: TableName, shape: TableShape, files: Sequence[WrittenFile], load: NewLoad
) -> None:
    """Commit the files as the whole content of the table; see ``Lake.publish``."""
    delta = _open(folder)
    if _is_applied(delta, load):
        return
    if (None if delta is None else delta.version()) != load.base_version:
        raise _overtaken(name, load)
    with storage_errors(f"write into {folder}"):
        make_private(folder / LOG_FOLDER)
        with (
            contextlib.suppress(_AppliedMeanwhileError),
            _moved_into(folder, files, load) as moved,
        ):
            _commit(folder, delta, name, shape, moved, load)
        _describe(folder, shape)
        make_files_private(folder / LOG_FOLDER)


def _describe(folder: Path, shape: TableShape) -> None:
    """Renew the description of the table, which cannot be part of the commit of a load."""
    with contextlib.suppress(DeltaError):
        delta = DeltaTable(str(folder))
        if (delta.metadata().description or "") != shape.description:
            delta.alter.set_table_description(shape.description)


def _open(folder: Path) -> DeltaTable | None:
    if not (folder / LOG_FOLDER).is_dir():
        return None
    try:
        return DeltaTable(str(folder))
    except TableNotFoundError:
        return None


def _is_applied(delta: DeltaTable | None, load: NewLoad) -> bool:
    return delta is not None and delta.transaction_version(load.transaction) is not None


@contextlib.contextmanager
def _moved_into(
    folder: Path, files: Sequence[WrittenFile], load: NewLoad
) -> Iterator[list[tuple[Path, WrittenFile]]]:
    """Move the files into the table; if the commit fails, back to where they were."""
    mark = load.at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    stem = f"{load.kind}-{mark}-{secrets.token_hex(3)}"
    moved: list[tuple[Path, WrittenFile]] = []
    try:
        for index, file in enumerate(files):
            target = folder / f"{stem}-{index:05d}.parquet"
            # Vacuuming judges by the time of the file, not of its writing, whether it is in use.
            os.utime(file.path)
            file.path.chmod(0o600)
            sync(file.path)
            moved.append((target, file))
            os.replace(file.path, target)  # noqa: PTH105  # the same call, and it names its meaning
        sync(folder)
        yield moved
    except BaseException:
        # An interrupt may arrive when the commit is done: what is published must stay.
        with contextlib.suppress(OSError, DeltaError):
            if not _is_committed(_open(folder), moved, load):
                _move_back(moved)
        raise


def _move_back(moved: list[tuple[Path, WrittenFile]]) -> None:
    for target, file in moved:
        with contextlib.suppress(FileNotFoundError):
            os.replace(target, file.path)  # noqa: PTH105


def _commit(
    folder: Path,
    delta: DeltaTable | None,
    name: TableName,
    shape: TableShape,
    moved: list[tuple[Path, WrittenFile]],
    load: NewLoad,
) -> None:
    schema = Schema.from_json(shape.delta_schema())
    adds = [_add_action(path, file) for path, file in moved]
    properties = CommitProperties(
        custom_metadata={METADATA_KEY: load.metadata(sum(file.rows for _, file in moved))},
        app_transactions=[Transaction(load.transaction, 1)],
        max_commit_retries=0,
    )
    try:
        if delta is None:
            create_table_with_add_actions(
                str(folder),
                schema,
                adds,
                mode="error",
                name=name.table,
                description=shape.description,
                configuration=_CONFIGURATION,
                commit_properties=properties,
            )
        else:
            delta.create_write_transaction(
                [*adds], "overwrite", schema, commit_properties=properties
            )
    except (DeltaError, OSError) as error:
        # What failed may have been the checkpoint that follows the commit.
        now = _open(folder)
        if _is_committed(now, moved, load):
            return
        if _is_applied(now, load):
            raise _AppliedMeanwhileError from error
        raise _explained(error, now, folder, name, load) from error


def _is_committed(
    delta: DeltaTable | None, moved: list[tuple[Path, WrittenFile]], load: NewLoad
) -> bool:
    """Tell whether it is these files that the load's transaction brought."""
    if delta is None or not _is_applied(delta, load):
        return False
    return {Path(uri).name for uri in delta.file_uris()} == {path.name for path, _ in moved}


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


def _add_action(path: Path, file: WrittenFile) -> AddAction:
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
