"""Where a load gathers its parts: one folder a job, kept when the load is interrupted.

::

    <staging>/<namespace>/<table>/lock
    <staging>/<namespace>/<table>/job_<id>/part-00000.parquet        downloaded and checked
    <staging>/<namespace>/<table>/job_<id>/tidy/…                    rewritten, not yet published
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from dap_pipeline.dap.disk import make_private
from dap_pipeline.dap.locking import file_lock
from dap_pipeline.dap.models import TableName
from dap_pipeline.dap.names import job_folder_name
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import StorageError


class Staging:
    """The staging folders of all tables."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def locked(self, name: TableName, stop: Stop) -> Iterator[None]:
        """Let one load of the table work at a time, in all processes of the machine.

        Raises:
            CancelledError: a stop was asked for while another load had the lock.
        """
        with file_lock(self._make(self.folder(name)) / "lock", stop):
            yield

    def job_folder(self, name: TableName, job_id: str) -> Path:
        """Make the job's folder, and remove those of the table's earlier jobs."""
        table = self._make(self.folder(name))
        folder = table / job_folder_name(job_id)
        for other in table.glob("job_*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        return self._make(folder)

    def clear(self, name: TableName) -> None:
        """Remove all that is staged for the table."""
        for folder in self.folder(name).glob("job_*"):
            shutil.rmtree(folder, ignore_errors=True)

    def folder(self, name: TableName) -> Path:
        """Tell the folder of a table, whether or not it is there."""
        return self.root / name.namespace / name.table

    def _make(self, folder: Path) -> Path:
        try:
            make_private(folder)
        except OSError as error:
            raise _unwritable(folder, error) from error
        return folder


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"{folder} cannot be written: {error.strerror}")
