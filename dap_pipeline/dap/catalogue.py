"""The tables that are known without asking DAP: the shipped schemas, or a refreshed copy of them.

The shipped ones were put together from public documentation. A copy that DAP itself gave (made
by ``dap-pipeline refresh-catalogue`` or the job of that name) wins, namespace by namespace, since
it lists what the account really has; shipped descriptions fill in where DAP gives none.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from dap_pipeline.dap.disk import make_private
from dap_pipeline.dap.models import TableName, VersionedSchema, check_name, parse_answer
from dap_pipeline.errors import ConfigurationError, DapPipelineError, StorageError


@dataclass(frozen=True)
class CatalogueTable:
    """A table and its schema."""

    name: TableName
    schema: VersionedSchema


class Catalogue:
    """Tables by name, in the order of their names."""

    def __init__(self, tables: Iterable[CatalogueTable]) -> None:
        self._tables = {t.name: t for t in sorted(tables, key=lambda t: t.name)}

    @property
    def tables(self) -> tuple[CatalogueTable, ...]:
        """All tables."""
        return tuple(self._tables.values())

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces that have tables."""
        return tuple(dict.fromkeys(name.namespace for name in self._tables))

    def names(self, namespace: str | None = None) -> tuple[TableName, ...]:
        """Give the names of all tables, or of one namespace's."""
        return tuple(n for n in self._tables if namespace in (None, n.namespace))

    def get(self, name: TableName) -> CatalogueTable | None:
        """Give one table, or None where the catalogue does not know it."""
        return self._tables.get(name)


def load_catalogue(refreshed: Path | None = None) -> Catalogue:
    """Read the catalogue; no network is used.

    Args:
        refreshed: folder of the refreshed copy; it need not exist.

    Raises:
        ConfigurationError: the refreshed copy cannot be read.
    """
    shipped = {t.name: t for t in _read_tree(files("dap_pipeline.schemas"))}
    own = list(_read_tree(refreshed)) if refreshed is not None and refreshed.is_dir() else []
    renewed = {t.name.namespace for t in own}
    kept = [t for t in shipped.values() if t.name.namespace not in renewed]
    return Catalogue([*kept, *(_described(t, shipped.get(t.name)) for t in own)])


def save_namespace(folder: Path, namespace: str, tables: Mapping[str, VersionedSchema]) -> None:
    """Replace the refreshed copy of one namespace, whole or not at all.

    Raises:
        UnknownTableError: a name that no namespace or table of DAP can have.
        StorageError: the folder cannot be written.
    """
    for name in (namespace, *tables):
        check_name(name)
    try:
        make_private(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as scratch:
            new = Path(scratch, "new")
            new.mkdir()
            for table, schema in tables.items():
                text = json.dumps(schema.model_dump(by_alias=True), indent=1)
                (new / f"{table}.json").write_text(text + "\n", encoding="utf-8")
            _swap(new, folder / namespace, Path(scratch, "old"))
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error


def _swap(new: Path, place: Path, old: Path) -> None:
    """Put the new folder in its place; the old one returns when that fails."""
    with contextlib.suppress(FileNotFoundError):
        place.rename(old)
    try:
        new.rename(place)
    except BaseException:
        with contextlib.suppress(OSError):
            old.rename(place)
        raise


def _read_tree(root: Traversable | Path) -> Iterator[CatalogueTable]:
    for namespace in root.iterdir():
        if namespace.is_dir() and not namespace.name.startswith((".", "_")):
            for file in namespace.iterdir():
                if file.name.endswith(".json"):
                    yield _read_table(namespace.name, file)


def _read_table(namespace: str, file: Traversable | Path) -> CatalogueTable:
    try:
        name = TableName(namespace, file.name.removesuffix(".json"))
        payload = json.loads(file.read_text(encoding="utf-8"))
        return CatalogueTable(name, parse_answer(VersionedSchema, payload))
    except (OSError, ValueError, RecursionError, DapPipelineError) as error:
        reason = error.what if isinstance(error, DapPipelineError) else type(error).__name__
        raise ConfigurationError(
            f"the catalogue file {file} cannot be read: {reason}",
            advice="Remove it, or refresh the catalogue with `dap-pipeline refresh-catalogue`.",
        ) from None


def _described(table: CatalogueTable, shipped: CatalogueTable | None) -> CatalogueTable:
    """Fill in the shipped words where DAP's schema has none."""
    if shipped is None:
        return table
    schema = _with_words(table.schema.json_schema, shipped.schema.json_schema)
    return CatalogueTable(table.name, VersionedSchema(schema=schema, version=table.schema.version))


def _with_words(node: dict[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    result = dict(node)
    for key in ("title", "description"):
        if key in words and not isinstance(words[key], dict):
            result.setdefault(key, words[key])
    own, other = node.get("properties"), words.get("properties")
    if isinstance(own, dict) and isinstance(other, dict):
        result["properties"] = {
            name: _with_words(child, other[name])
            if isinstance(child, dict) and isinstance(other.get(name), dict)
            else child
            for name, child in own.items()
        }
    return result
