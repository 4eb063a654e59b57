from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

from . import document
from .all_rows import ROWS
from .elsewhere import ELSEWHERE
from .proving import PROOFS


def test_the_page_says_what_the_tests_prove() -> None:
    written = document.FILE.read_text(encoding="utf-8")
    assert written == document.text(), "run python -m dap_pipeline_tests.faults.document"


def test_every_test_that_the_page_names_is_there() -> None:
    for proof in (*PROOFS, *ELSEWHERE):
        for test in proof.tests:
            path, _, name = test.partition("::")
            module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
            assert callable(getattr(module, name))


def test_every_module_of_tests_that_proves_something_is_on_the_page() -> None:
    proving = {
        file.stem for file in Path(__file__).parent.glob("test_*.py") if "@proves(" in _code(file)
    }
    named = {module.__name__.rpartition(".")[2] for module in document.MODULES}
    assert named == proving - {Path(__file__).stem}


def test_no_two_rows_have_the_same_name() -> None:
    assert [name for name, count in Counter(row.name for row in ROWS).items() if count > 1] == []


def _code(file: Path) -> str:
    return file.read_text(encoding="utf-8")
