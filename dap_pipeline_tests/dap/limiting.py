"""A limiter whose minute is short, and the calls that its file counts."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from dap_pipeline.dap.limits import Endpoint, Limiter

PERIOD = 0.5


def limiter(folder: Path, scope: str = "", period: float = PERIOD, most: int = 3) -> Limiter:
    limits = dict.fromkeys(Endpoint, most)
    return Limiter(folder / "limits.sqlite", limits, scope=scope, period=period, margin=0.0)


def calls(folder: Path) -> list[tuple[str, str, float]]:
    with contextlib.closing(sqlite3.connect(folder / "limits.sqlite")) as db:
        return db.execute("SELECT scope, endpoint, at FROM calls ORDER BY at").fetchall()
