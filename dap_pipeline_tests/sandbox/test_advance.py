from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.store import Store

from . import small_school
from .caller import Caller


def _grow(store: Store, now: datetime) -> None:
    with store.cursor() as cursor:
        row = cursor.execute("SELECT max(id) FROM canvas.users").fetchone()
    assert row is not None
    small_school.insert(store, "canvas", "users", [small_school.user(row[0] + 1, now)])
    store.commit_school(now)


def test_time_and_the_school_advance_together(tmp_path: Path) -> None:
    with small_school.running(SandboxConfig(tmp_path), advance=_grow) as it:
        caller = Caller(it)
        snapshot = caller.ended_job("users", format="csv")
        answer = caller.post("/sandbox/advance", {"hours": 4, "steps": 3})
        now = datetime.fromisoformat(answer.json()["now"])
        assert timedelta(hours=12) <= now - datetime.now(UTC) + timedelta(minutes=1)
        later = Caller(it)
        assert later.data("users", {"format": "csv"}).json()["id"] == snapshot["id"]
        increment = later.ended_job("users", format="csv", since=snapshot["at"])
        lines = later.text(increment).splitlines()[1:]
        assert [line.split(",")[0] for line in lines] == ["61", "62", "63"]
        assert (
            timedelta() <= now - datetime.fromisoformat(increment["until"]) < timedelta(minutes=1)
        )


def test_the_clock_is_moved_by_who_knows_the_credentials_only(tmp_path: Path) -> None:
    with small_school.running(SandboxConfig(tmp_path), advance=_grow) as it:
        url = f"{it.url}/sandbox/advance"
        assert requests.post(url, json={}, timeout=30).status_code == 401
        assert requests.post(url, json={}, auth=("x", "y"), timeout=30).status_code == 401
        credentials = (it.client_id, it.client_secret)
        assert requests.post(url, json={}, auth=credentials, timeout=30).ok
        assert it.service.clock.now() - datetime.now(UTC) > timedelta(hours=3)


def test_a_senseless_advance_moves_nothing(tmp_path: Path) -> None:
    with small_school.running(SandboxConfig(tmp_path), advance=_grow) as it:
        assert Caller(it).post("/sandbox/advance", {"hours": -4}).status_code == 400
        assert it.service.clock.now() - datetime.now(UTC) < timedelta(minutes=1)
