"""Turns DAP's JSON Schema of a table into the columns of its published table.

One flat column for each key and value field, in the order of the schema, then ``meta_ts``. A column
has the name of its field; where names are equal or differ by case only, or a field is called
``meta_ts``, the later ones get a suffix: ``name_value``, ``name_value_2``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from dap_pipeline.dap.models import VersionedSchema
from dap_pipeline.lake.coltypes import INSTANT, ColumnType, Kind, Member, from_delta
from dap_pipeline.lake.dialect import (
    OVERSIZED_MARKERS,
    Node,
    as_object,
    column_type,
    malformed,
    options_of,
    properties_of,
    resolve,
    text_of,
)
from dap_pipeline.lake.naming import own_names

__all__ = [
    "META_ACTION",
    "META_TS",
    "Column",
    "ColumnType",
    "Kind",
    "Mask",
    "Member",
    "Section",
    "TableShape",
    "shape_of",
]


class Section(StrEnum):
    """The part of a DAP record that a field stands in."""

    KEY = "key"
    VALUE = "value"
    META = "meta"


class Mask(StrEnum):
    """What was done to a column so that it tells nobody's data; see ``lake/masking.py``."""

    HASH = "hash"
    NULL = "null"


@dataclass(frozen=True)
class Column:
    """A column of a published table, and the field that it comes from."""

    name: str
    section: Section
    source: str
    """Name of the field in its section of the DAP schema."""
    type: ColumnType
    required: bool = False
    description: str = ""
    members: tuple[str | int, ...] = ()
    """The permitted values of an enumeration."""
    oversized: bool = False
    """Whether DAP may put a marker in place of a text that is too long."""
    gone: bool = False
    """Whether the table's schema no longer has the column: older rows keep it until a snapshot."""
    formerly: str = ""
    """The name that the column had until another one took it; empty where it has its own still."""
    lacking: bool = False
    """Whether rows from before the schema required a value may be without one."""
    masked: Mask | None = None
    """How the values were made unreadable on their way into the lake."""
    unmasked: Column | None = None
    """The column as it would be without its mask: so the parts of a job have it."""

    @property
    def read_type(self) -> ColumnType:
        """The type that the field has in the parts of a job."""
        return self.type if self.unmasked is None else self.unmasked.type

    def in_parts(self) -> Column:
        """Give the column without its mask."""
        if self.unmasked is None:
            return self
        return replace(self.unmasked, gone=self.gone, lacking=self.lacking)

    @property
    def kind(self) -> Kind:
        """What the column holds."""
        return self.type.kind

    @property
    def duckdb_type(self) -> str:
        """The type as DuckDB writes it."""
        return self.type.duckdb

    def delta_field(self) -> dict[str, Any]:
        """Describe the column as a field of Delta's schema JSON.

        Nullable even where DAP requires a value: what is required may change between versions.
        """
        metadata: dict[str, Any] = {
            "dap.type": self.type.label,
            "dap.field": f"{self.section}.{self.source}",
            "dap.required": "true" if self.required else "false",
        }
        if self.description:
            metadata["comment"] = self.description
        if self.members:
            metadata["dap.enum"] = json.dumps(self.members)
        if self.oversized:
            metadata["dap.oversized"] = "true"
        if self.gone:
            metadata["dap.gone"] = "true"
        if self.formerly:
            metadata["dap.formerly"] = self.formerly
        if self.lacking:
            metadata["dap.lacking"] = "true"
        if self.masked is not None:
            metadata["dap.masked"] = self.masked.value
        if self.unmasked is not None:
            metadata["dap.unmasked"] = json.dumps(self.unmasked.delta_field())
        return {
            "name": self.name,
            "type": self.type.delta,
            "nullable": True,
            "metadata": metadata,
        }

    @classmethod
    def from_delta_field(cls, field: dict[str, Any]) -> Self:
        """Read a column back from Delta's schema JSON."""
        metadata = field["metadata"]
        section, _, source = metadata["dap.field"].partition(".")
        masked, kept = metadata.get("dap.masked"), metadata.get("dap.unmasked")
        return cls(
            name=field["name"],
            section=Section(section),
            source=source,
            type=from_delta(field["type"], metadata["dap.type"]),
            required=metadata["dap.required"] == "true",
            description=metadata.get("comment", ""),
            members=tuple(json.loads(metadata.get("dap.enum", "[]"))),
            oversized=metadata.get("dap.oversized") == "true",
            gone=metadata.get("dap.gone") == "true",
            formerly=metadata.get("dap.formerly", ""),
            lacking=metadata.get("dap.lacking") == "true",
            masked=None if masked is None else Mask(masked),
            unmasked=None if kept is None else cls.from_delta_field(json.loads(kept)),
        )


META_TS = Column(
    "meta_ts",
    Section.META,
    "ts",
    INSTANT,
    required=True,
    description="When the record was committed to DAP's lake.",
)
META_ACTION = Column(
    "meta_action",
    Section.META,
    "action",
    ColumnType(Kind.ENUM),
    required=True,
    description="What happened to the record: U (inserted or changed) or D (deleted).",
    members=("U", "D"),
)
_RESERVED = (META_TS.name, META_ACTION.name)


@dataclass(frozen=True)
class TableShape:
    """The columns of a published table; the last one is ``meta_ts``."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Names of the key columns."""
    schema_version: int
    description: str = ""
    dropped: tuple[Column, ...] = ()
    """Fields that the parts have and the settings keep out of the table."""
    mask_key: str = ""
    """Tells two keys of hashed columns apart, and nothing else; empty without hashed columns."""

    def column(self, name: str) -> Column:
        """Look a column up by its name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def is_masked(self) -> bool:
        """Whether the table lacks anything that the parts have, by the settings."""
        return bool(self.dropped) or any(column.masked is not None for column in self.columns)

    def in_parts(self) -> TableShape:
        """Give the fields as the parts of a job have them, before anything is masked."""
        fields = (*self.dropped, *(column.in_parts() for column in self.columns))
        return replace(self, columns=fields, dropped=(), mask_key="")

    def with_action(self) -> TableShape:
        """Add ``meta_action``, which increments have."""
        return replace(self, columns=(*self.columns, META_ACTION))

    def delta_schema(self) -> str:
        """Write the shape as Delta's schema JSON, from which it can be read back.

        What concerns the table as a whole stands in the metadata of the last column, because only
        the schema can be replaced in the same commit as the files.
        """
        fields = [column.delta_field() for column in self.columns]
        fields[-1]["metadata"] |= {
            "dap.schema_version": str(self.schema_version),
            "dap.description": self.description,
        }
        if self.dropped:
            dropped = [column.delta_field() for column in self.dropped]
            fields[-1]["metadata"]["dap.dropped"] = json.dumps(dropped)
        if self.mask_key:
            fields[-1]["metadata"]["dap.mask_key"] = self.mask_key
        return json.dumps({"type": "struct", "fields": fields})

    @classmethod
    def from_delta_schema(cls, schema: str) -> Self:
        """Read the shape back; KeyError or ValueError if ``delta_schema`` did not write it."""
        fields = json.loads(schema)["fields"]
        columns = tuple(Column.from_delta_field(field) for field in fields)
        last = fields[-1]["metadata"] if fields else {}
        return cls(
            columns=columns,
            key=tuple(c.name for c in columns if c.section is Section.KEY),
            schema_version=int(last["dap.schema_version"]),
            description=last["dap.description"],
            dropped=tuple(
                Column.from_delta_field(field)
                for field in json.loads(last.get("dap.dropped", "[]"))
            ),
            mask_key=last.get("dap.mask_key", ""),
        )


def shape_of(schema: VersionedSchema) -> TableShape:
    """Read the columns of a table from its schema.

    Raises:
        MisfitError: the schema is not of DAP's dialect.
    """
    root: Node = schema.json_schema
    properties = as_object(root.get("properties"), "properties")
    sections: dict[Section, Node] = {}
    for section in (Section.KEY, Section.VALUE):
        sections[section] = resolve(properties.get(section, {}), root, section)
    columns = [
        column for section, node in sections.items() for column in _columns(section, node, root)
    ]
    names = own_names([(c.source, c.section.value) for c in columns], _RESERVED)
    named = [replace(c, name=name) for c, name in zip(columns, names, strict=True)]
    key = tuple(column.name for column in named if column.section is Section.KEY)
    if not key:
        raise malformed(Section.KEY, "names no field")
    titles = (text_of(sections[s]) for s in (Section.VALUE, Section.KEY))
    title = next((title for title in titles if title), text_of(root))
    return TableShape((*named, META_TS), key, schema.version, title)


def _columns(section: Section, node: Node, root: Node) -> list[Column]:
    required = node.get("required", [])
    if not isinstance(required, list):
        raise malformed(section, "has a `required` that is no list")
    return [
        _column(section, name, field, root, section is Section.KEY or name in required)
        for name, field in properties_of(node, section).items()
    ]


def _column(section: Section, name: str, field: object, root: Node, required: bool) -> Column:
    place = f"{section}.{name}"
    node = resolve(field, root, place)
    kind = column_type(node, root, place)
    members = node.get("enum", ())
    if not isinstance(members, Sequence) or isinstance(members, str):
        raise malformed(place, "has an enum that is no list")
    return Column(
        name=name,
        section=section,
        source=name,
        type=kind,
        required=required,
        description=text_of(node),
        members=tuple(m for m in members if isinstance(m, str | int)),
        oversized=_may_be_oversized(node, root, place),
    )


def _may_be_oversized(node: Node, root: Node, place: str) -> bool:
    if "oneOf" not in node:
        return False
    options: list[Mapping[str, Any]] = options_of(node["oneOf"], root, place)
    return any(option.get("const") in OVERSIZED_MARKERS for option in options)
