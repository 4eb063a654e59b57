"""The schemas that jobs follow, by version, kept on disk as DAP gave them.

DAP hands out a table's current schema only, and a job may follow an older version for the 24 hours
that it is answered. Every change of a schema gets a new version (data-formats page), so one
that was kept never goes stale.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.disk import make_private
from dap_pipeline.dap.models import TableName, VersionedSchema
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import SchemaUnavailableError, StorageError


class SchemaBook:
    """Schemas by table and version, from disk, else from DAP."""

    def __init__(self, client: DapClient, folder: Path) -> None:
        self._client = client
        self._folder = folder

    def schema(self, name: TableName, version: int, stop: Stop) -> VersionedSchema:
        """Give the schema of exactly this version.

        Raises:
            SchemaUnavailableError: DAP's current schema is of another version.
        """
        kept = self._kept(name, version)
        if kept is not None:
            return kept
        current = self._client.schema(name, stop)
        self.keep(name, current)
        if current.version != version:
            raise SchemaUnavailableError(
                f"the job follows schema version {version}, but DAP gives version {current.version}"
            ).at(name.namespace, name.table)
        return current

    def keep(self, name: TableName, schema: VersionedSchema) -> None:
        """Keep a schema that DAP gave."""
        file = self._file(name, schema.version)
        try:
            make_private(file.parent)
            scratch = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
            scratch.touch(mode=0o600)
            scratch.write_text(schema.model_dump_json(by_alias=True), encoding="utf-8")
            scratch.replace(file)
        except OSError as error:
            raise StorageError(f"{file.parent} cannot be written: {error.strerror}") from error

    def _kept(self, name: TableName, version: int) -> VersionedSchema | None:
        try:
            text = self._file(name, version).read_text(encoding="utf-8")
            return VersionedSchema.model_validate_json(text)
        except (OSError, ValueError):
            # Missing or unreadable: DAP can be asked for it.
            return None

    def _file(self, name: TableName, version: int) -> Path:
        return self._folder / name.namespace / f"{name.table}.v{version}.json"
