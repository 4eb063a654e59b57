"""Finds the tables that a user names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from dap_pipeline.dap.catalogue import Catalogue
from dap_pipeline.dap.models import TableName, namespace_name
from dap_pipeline.errors import UnknownTableError

ALL = "all"

Lister = Callable[[str], Sequence[str]]


def select_tables(
    namespace: str, tables: str, catalogue: Catalogue, ask_dap: Lister
) -> tuple[TableName, ...]:
    """Give the tables that ``tables`` names: one, several with commas, or ``all``.

    Args:
        namespace: as the user wrote it; ``canvas_log`` stands for ``canvas_logs``.
        tables: as the user wrote it; a repeated name counts once.
        catalogue: what is known without asking.
        ask_dap: lists a namespace; called only for ``all`` and for a name that is not known, since
            DAP allows five such calls a minute.

    Raises:
        UnknownTableError: an empty name, or one that DAP does not list; the text suggests others.
    """
    space = namespace_name(namespace)
    if not space:
        raise UnknownTableError("the namespace is empty", advice=_known_namespaces(catalogue))
    wanted = list(dict.fromkeys(part.strip() for part in tables.split(",")))
    if "" in wanted:
        raise UnknownTableError(
            "a table name is empty", advice="Name tables as in `courses,users`, or say `all`."
        )
    known = {n.table for n in catalogue.names(space)}
    if ALL in wanted or any(name not in known for name in wanted):
        listed = _listed(space, catalogue, ask_dap)
        wanted = listed if ALL in wanted else wanted
        _refuse_unknown(space, wanted, listed)
    return tuple(TableName(space, name) for name in wanted)


def _listed(namespace: str, catalogue: Catalogue, ask_dap: Lister) -> list[str]:
    try:
        return list(ask_dap(namespace))
    except UnknownTableError as error:
        raise UnknownTableError(
            f"DAP does not know the namespace {namespace!r}",
            advice=_suggestion(namespace, catalogue.namespaces) or _known_namespaces(catalogue),
            place=error.place,
        ) from None


def _refuse_unknown(namespace: str, wanted: Sequence[str], listed: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in listed]
    if not unknown:
        return
    names = ", ".join(repr(name[:80]) for name in unknown)
    suggestions = [s for name in unknown if (s := _suggestion(name, listed))]
    see = f"See the names with `dap-pipeline list --namespace {namespace}`."
    raise UnknownTableError(
        f"namespace {namespace} has no table {names}", advice=" ".join([*suggestions, see])
    )


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else ""


def _known_namespaces(catalogue: Catalogue) -> str:
    return f"Known namespaces are {', '.join(catalogue.namespaces)}."
