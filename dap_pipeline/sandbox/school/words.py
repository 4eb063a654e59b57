"""Made-up names and texts in several languages; some are there to trouble whoever parses them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Words:
    """The lists of `words.json`.

    Names are grouped by culture: a given name is combined with a family name of the same culture.
    """

    given_names: tuple[tuple[str, ...], ...]
    family_names: tuple[tuple[str, ...], ...]
    subjects: tuple[str, ...]
    levels: tuple[str, ...]
    titles: tuple[str, ...]
    tricky_texts: tuple[str, ...]
    sentences: tuple[str, ...]
    file_names: tuple[str, ...]
    time_zones: tuple[str, ...]
    locales: tuple[str, ...]
    user_agents: tuple[str, ...]


@cache
def words() -> Words:
    """Read the lists."""
    text = resources.files(__package__).joinpath("words.json").read_text("utf-8")
    lists = json.loads(text)
    for name in ("given_names", "family_names"):
        lists[name] = [tuple(group) for group in lists[name]]
    return Words(**{name: tuple(values) for name, values in lists.items()})
