"""Everything that loading needs, put together from the settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from dap_pipeline.dap.catalogue import Catalogue, load_catalogue, save_namespace
from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.download import Downloader
from dap_pipeline.dap.jobs import JobPace, JobRunner
from dap_pipeline.dap.many import ManyResult, for_each
from dap_pipeline.dap.models import TableName, VersionedSchema
from dap_pipeline.dap.progress import Listener, silent
from dap_pipeline.dap.schema_book import SchemaBook
from dap_pipeline.dap.shared import is_loopback, shared_folder
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import UnknownTableError
from dap_pipeline.lake.fetching import Fetcher, Workshop
from dap_pipeline.lake.gate import GateRules
from dap_pipeline.lake.load import TableLoader
from dap_pipeline.lake.masking import Masking
from dap_pipeline.lake.planning import Planner
from dap_pipeline.lake.records import LoadMode, LoadResult
from dap_pipeline.lake.staging import Staging
from dap_pipeline.lake.tables import Lake
from dap_pipeline.lake.versions import LoadOptions, VersionMaker
from dap_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)


class Engine:
    """One DAP service, one lake, and the way between them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = DapClient.from_settings(settings)
        self.runner = JobRunner(self.client, JobPace.from_settings(settings))
        self.downloader = Downloader(
            self.client.http,
            connections=settings.connections,
            verify=settings.verify,
            patience=self.client.patience,
            shared=shared_folder(settings),
        )
        self.schemas = SchemaBook(self.client, settings.data_dir.absolute() / "schemas")
        self.lake = Lake(settings.lake_dir)
        self.masking = Masking.from_settings(settings)
        workshop = Workshop(
            settings.duckdb_memory,
            settings.duckdb_threads,
            rewrites=max(1, (os.cpu_count() or 1) // settings.duckdb_threads),
            mask_key=self.masking.key,
        )
        options = LoadOptions(
            keep_versions=settings.keep_versions,
            keep_changes=settings.keep_changes,
            log_retention=settings.log_retention,
            rules=GateRules.from_settings(settings),
            masking=self.masking,
        )
        fetcher = Fetcher(self.client, self.downloader, workshop)
        self._loader = TableLoader(
            self.lake,
            planner=Planner(self.runner, settings.source_format, settings.increment_overlap),
            maker=VersionMaker(
                fetcher=fetcher, schemas=self.schemas, workshop=workshop, options=options
            ),
            staging=Staging(settings.staging_dir),
            workshop=workshop,
            options=options,
        )

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Put everything together; DAP is not called yet.

        Raises:
            MissingCredentialsError: the credentials are not set.
            WrongOriginError: the data folder holds another service's data.
            StorageError: the data folder cannot be written.
        """
        engine = cls(settings)
        engine.lake.check_writable()
        engine.lake.claim(origin_of(settings.api_url))
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the download threads end."""
        self.downloader.close()

    def catalogue(self) -> Catalogue:
        """Give the tables that are known without asking DAP."""
        return load_catalogue(self.settings.catalogue_dir)

    def load(
        self,
        name: TableName,
        *,
        mode: LoadMode = LoadMode.SNAPSHOT,
        listener: Listener = silent,
        stop: Stop | None = None,
    ) -> LoadResult:
        """Bring one table up to date and publish it.

        Raises:
            DapPipelineError: the load failed and changed nothing.
        """
        self._check_masks()
        work = Stop(stop)
        try:
            return self._loader.load(name, mode=mode, listener=listener, stop=work)
        finally:
            # Also when Dagster or Ctrl-C raises in this thread: the others must end with it.
            work.set()

    def load_many(
        self,
        names: Sequence[TableName],
        *,
        mode: LoadMode = LoadMode.SNAPSHOT,
        listener: Listener = silent,
        stop: Stop | None = None,
    ) -> ManyResult[LoadResult]:
        """Bring many tables up to date; a failed one stops no other.

        Raises:
            CancelledError: a stop was asked for.
        """
        self._check_masks()
        return for_each(
            names,
            lambda name, group: self._loader.load(name, mode=mode, listener=listener, stop=group),
            parallel=self.settings.parallel_tables,
            listener=listener,
            stop=stop or Stop(),
        )

    def _check_masks(self) -> None:
        """Refuse rules that fit no table before anything is loaded: they may be misspelt."""
        if self.masking.rules:
            self.masking.check(self.catalogue())

    def refresh_catalogue(
        self,
        namespaces: Sequence[str] | None = None,
        *,
        listener: Listener = silent,
        stop: Stop | None = None,
    ) -> ManyResult[VersionedSchema]:
        """Ask DAP for the tables and schemas of the namespaces, and keep the answers.

        A namespace is replaced only when all its schemas were had.

        Raises:
            DapPipelineError: a namespace could not be listed.
        """
        work = Stop(stop)
        names = self._listed(namespaces, work)
        got = for_each(
            names,
            self._fresh_schema,
            parallel=self.settings.parallel_tables,
            listener=listener,
            stop=work,
        )
        for namespace in dict.fromkeys(name.namespace for name in names):
            wanted = {name for name in names if name.namespace == namespace}
            if wanted <= got.results.keys():
                schemas = {name.table: got.results[name] for name in wanted}
                save_namespace(self.settings.catalogue_dir, namespace, schemas)
        return got

    def _listed(self, namespaces: Sequence[str] | None, stop: Stop) -> list[TableName]:
        """List the tables of the namespaces; a known one that the account lacks is passed over."""
        names: list[TableName] = []
        for namespace in namespaces or self.catalogue().namespaces:
            try:
                tables = self.client.list_tables(namespace, stop)
            except UnknownTableError:
                if namespaces:
                    raise
                _LOG.warning("DAP lists no namespace %s for this account", namespace)
            else:
                names += [TableName(namespace, table) for table in tables]
        return names

    def _fresh_schema(self, name: TableName, stop: Stop) -> VersionedSchema:
        schema = self.client.schema(name, stop)
        self.schemas.keep(name, schema)
        return schema


def origin_of(api_url: str) -> str:
    """Name the service whose data a lake holds; the embedded one's port changes from run to run."""
    if is_loopback(api_url):
        return "loopback"
    return urlsplit(api_url).netloc.rpartition("@")[2].lower()
