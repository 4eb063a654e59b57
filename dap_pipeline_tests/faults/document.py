"""Writes docs/faults.md from the rows and proofs of the suite.

`python -m dap_pipeline_tests.faults.document` writes the file; a test compares it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from . import (
    test_bombs,
    test_clocks,
    test_dagster,
    test_disks,
    test_fuzz,
    test_kills,
    test_orders,
    test_secrets,
    test_two_runs,
)
from .all_rows import CHAPTERS
from .elsewhere import ELSEWHERE
from .proving import PROOFS, Proof
from .rows import COMMAND_LINE, LAKE, Row

FILE = Path(__file__).parent.parent.parent / "docs" / "faults.md"

# Importing a module of tests lets its proofs be known.
MODULES = (
    test_kills,
    test_two_runs,
    test_disks,
    test_clocks,
    test_bombs,
    test_fuzz,
    test_orders,
    test_secrets,
)

_FOLDER = "dap_pipeline_tests/"
_HEAD = """\
# Faults, and what the pipeline does

The tests write this page (`python -m dap_pipeline_tests.faults.document`), and one of them fails
when it differs from what they prove. Each fault is switched on at the embedded service, over real
HTTP. "Fails" means: the table fails with one text that names the table, the job and DAP's uuid
where there are such, and whose last sentence says what to do; nothing of it is published; the exit
code is 1; the other tables go on. Times are those of the settings' defaults.

`rows` is [test_rows.py](../dap_pipeline_tests/faults/test_rows.py), `dagster` is
[test_dagster.py](../dap_pipeline_tests/faults/test_dagster.py). One fault is tried with
`pytest dap_pipeline_tests/faults -k NAME`.
"""


def text() -> str:
    """Write the page."""
    return _HEAD + "".join(_chapter(title) for title in _titles())


def _titles() -> list[str]:
    rows = (chapter.title for chapter in CHAPTERS)
    return list(dict.fromkeys([*rows, *(proof.chapter for proof in _proofs())]))


def _proofs() -> list[Proof]:
    """List what single tests prove, in the order of the modules above."""
    order = {module.__name__.rpartition(".")[2]: i for i, module in enumerate(MODULES)}
    return sorted(PROOFS, key=lambda p: order[Path(p.tests[0].partition("::")[0]).stem]) + list(
        ELSEWHERE
    )


def _chapter(title: str) -> str:
    lines = [*_lines_of_rows(title), *_lines_of_proofs(title)]
    head = f"\n## {title}\n\n| Fault | What the pipeline does | Test |\n|---|---|---|\n"
    return head + "".join(lines)


def _lines_of_rows(title: str) -> Iterator[str]:
    for chapter in CHAPTERS:
        if chapter.title == title:
            for row in chapter.rows:
                yield _line(row.fault, row.does, f"{_where(row)}: `{row.name}`")


def _lines_of_proofs(title: str) -> Iterator[str]:
    for proof in _proofs():
        if proof.chapter == title:
            yield _line(proof.fault, proof.does, ", ".join(map(_linked, proof.tests)))


def _where(row: Row) -> str:
    """Tell on which surfaces a row is tried."""
    surfaces = [f"rows ({s})" for s in (COMMAND_LINE, LAKE) if s in row.surfaces]
    if set(row.surfaces) == {COMMAND_LINE, LAKE}:
        surfaces = ["rows"]
    if row.fault in test_dagster.CHOSEN:
        surfaces.append("dagster")
    return ", ".join(surfaces)


def _linked(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{path.removeprefix(_FOLDER)}](../{path}): `{name}`"


def _line(*cells: str) -> str:
    return f"| {' | '.join(_cells(cells))} |\n"


def _cells(cells: Iterable[str]) -> Iterator[str]:
    for cell in cells:
        words = cell.replace("|", "\\|")
        yield words[0].upper() + words[1:] if words[:1].isalpha() and "`" not in words else words


def main() -> None:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
