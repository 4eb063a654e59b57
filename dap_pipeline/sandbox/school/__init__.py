"""The made-up school that fills the embedded service: all tables, coherent and repeatable."""

from .advance import advance_school
from .build import build_school
from .people import CANARY, Canary

__all__ = ["CANARY", "Canary", "advance_school", "build_school"]
