"""The life of single tables: rows that come, change and go, new schemas, and the truth of it."""

from .changes import Change, Life
from .evolution import Bump
from .truth import Truth, truth_of

__all__ = ["Bump", "Change", "Life", "Truth", "truth_of"]
