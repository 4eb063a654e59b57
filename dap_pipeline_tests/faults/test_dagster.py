"""A choice of the faults on a Dagster run, whose history is searched for secrets as well."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from .all_rows import ROWS
from .checking import check, check_secrets
from .dagster_surface import DagsterRun
from .rows import Row
from .service import School

pytestmark = pytest.mark.slow

CHOSEN = (
    "HTTP 503 three times, with a body of HTML, of JSON, and empty",
    "a body cut short of its length",
    "a cut file of the length that was told, for ever",
    "401 in mid-run",
    "a job fails",
    "a job fails each time",
    "AccountDisabled (403)",
    "credentials are revoked in mid-run",
    "RequestTypeForbidden",
    "a value that does not fit its type (Parquet)",
)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "history"
    folder.mkdir()
    with dg.instance_for_test(temp_dir=str(folder)) as on_disk:
        yield on_disk


@pytest.mark.parametrize("row", [r for r in ROWS if r.fault in CHOSEN], ids=lambda row: row.name)
def test_a_dagster_run_holds_out(
    row: Row,
    school: School,
    work: Path,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in school.environment(work / "data", **row.settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(work)
    school.begin()
    surface = DagsterRun(instance)
    with caplog.at_level(logging.DEBUG):
        check(row, school, surface)
    printed = capfd.readouterr()
    check_secrets(school, tmp_path, surface.written, caplog.text, printed.out, printed.err)


def test_every_chosen_row_is_there() -> None:
    assert {row.fault for row in ROWS} >= set(CHOSEN)
