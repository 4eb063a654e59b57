"""Every fault of the table, on the command line and on the way into the lake."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from .all_rows import ROWS
from .checking import check, check_secrets
from .rows import COMMAND_LINE, LAKE, Row
from .service import School
from .surfaces import CommandLine, Lake

pytestmark = pytest.mark.slow


def rows_for(surface: str) -> list[object]:
    return [pytest.param(row, id=row.name) for row in ROWS if surface in row.surfaces]


@pytest.mark.parametrize("row", rows_for(COMMAND_LINE))
def test_the_command_line_holds_out(
    row: Row,
    school: School,
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    use(monkeypatch, school, work, row)
    surface = CommandLine(work, capsys)
    with caplog.at_level(logging.DEBUG):
        check(row, school, surface)
    check_secrets(school, tmp_path, surface.written, caplog.text)
    assert {entry.name for entry in work.iterdir()} <= {"data", "downloads"}
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and work not in f.parents]


@pytest.mark.parametrize("row", rows_for(LAKE))
def test_a_load_holds_out(
    row: Row,
    school: School,
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    use(monkeypatch, school, work, row)
    surface = Lake()
    with caplog.at_level(logging.DEBUG):
        check(row, school, surface)
    check_secrets(school, tmp_path, surface.written, caplog.text)


def use(monkeypatch: pytest.MonkeyPatch, school: School, work: Path, row: Row) -> None:
    """Set the environment as a user would, in an empty folder."""
    for name, value in school.environment(work / "data", **row.settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(work)
