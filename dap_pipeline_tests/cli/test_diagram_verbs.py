from __future__ import annotations

import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from dap_pipeline.cli.main import run

pytest.importorskip("pygraphviz", reason="pictures are drawn by pygraphviz")

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = [
    line
    for line in (DOCS / "diagrams.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("dap-pipeline diagram") and "docs/diagrams/" in line
]


def texts(file: Path) -> list[str]:
    nodes = ET.parse(file).iter("{http://www.w3.org/2000/svg}text")
    return sorted("".join(node.itertext()) for node in nodes)


@pytest.fixture(autouse=True)
def _no_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAP_PIPELINE_DATA_DIR", str(tmp_path / "data"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_picture_of_the_docs_is_what_its_command_makes(command: str, tmp_path: Path) -> None:
    (tmp_path / "docs/diagrams").mkdir(parents=True)
    words = shlex.split(command)[1:]
    assert run(words) == 0
    # Places of lines hang on the fonts of a machine; what is written in the boxes does not.
    made, kept = tmp_path / words[-1], DOCS.parent / words[-1]
    assert texts(made) == texts(kept), f"make it anew: {command}"


def test_every_picture_of_the_docs_has_a_command() -> None:
    assert {Path(shlex.split(c)[-1]).name for c in COMMANDS} == {
        file.name for file in (DOCS / "diagrams").glob("*.svg")
    }


def test_standard_output_gets_the_picture_alone(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["diagram", "--namespace", "canvas", "--table", "users"]) == 0
    told = capfd.readouterr()
    assert ET.fromstring(told.out.encode()).tag.endswith("svg")
    assert "1 tables and 1 references." in told.err


def test_an_unknown_table_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["diagram", "--namespace", "canvas", "--table", "usres"]) == 2
    assert "Did you mean 'users'?" in capfd.readouterr().err
