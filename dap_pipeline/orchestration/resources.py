"""What assets need to work: an engine that loads tables, and the lake that they are in.

The heavy libraries are imported when a step needs them: the definitions load without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from dap_pipeline.settings import load_settings

if TYPE_CHECKING:
    from dap_pipeline.lake.engine import Engine
    from dap_pipeline.warehouse import WarehouseReport


class DapResource(dg.ConfigurableResource["DapResource"]):
    """The Data Access Platform: its address, the credentials, and where its data goes.

    All other settings come from the environment, `.env` and `pyproject.toml` of the process that
    runs a step.
    """

    api_url: str = Field(description="Address of the DAP gateway.")
    client_id: str = Field(description="Client id of the DAP credentials.")
    # Without repr=False, a resource that is written to a log shows the secret.
    client_secret: str = Field(description="Client secret of the DAP credentials.", repr=False)
    data_dir: str = Field(description="Folder of the lake, downloads and the refreshed catalogue.")

    _engine: Engine | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[DapResource]:
        """Close the engine when the steps that share it have ended."""
        del context
        try:
            yield self
        finally:
            if self._engine is not None:
                self._engine.close()

    def engine(self) -> Engine:
        """Give the engine that loads tables; it is opened on first use.

        Raises:
            ConfigurationError: a setting is missing or wrong.
        """
        if self._engine is None:
            from dap_pipeline.lake.engine import Engine

            settings = load_settings(
                api_url=self.api_url,
                client_id=self.client_id,
                client_secret=self.client_secret,
                data_dir=self.data_dir,
            )
            self._engine = Engine.open(settings)
        return self._engine


class WarehouseResource(dg.ConfigurableResource["WarehouseResource"]):
    """The lake and the DuckDB file that registers its tables."""

    lake_dir: str = Field(description="Folder of the published tables.")
    file: str = Field(description="The DuckDB file.")

    def build(self) -> WarehouseReport:
        """Build the DuckDB file anew over every published table.

        Raises:
            StorageError: the disk is full, or the folder may not be written.
            WarehouseError: DuckDB cannot build the file.
        """
        from dap_pipeline.lake.freshness import FreshnessRules
        from dap_pipeline.lake.tables import Lake
        from dap_pipeline.warehouse import build_warehouse

        rules = FreshnessRules.from_settings(load_settings())
        return build_warehouse(Lake(Path(self.lake_dir)), Path(self.file), freshness=rules)
