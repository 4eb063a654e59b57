from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dap_pipeline.dap.line import Line

_STANDS = """
import sys
from pathlib import Path
from dap_pipeline.dap.line import Line
with Line(Path(sys.argv[1])).joined():
    print("stands", flush=True)
    sys.stdin.read()
"""


def test_turns_come_in_the_order_of_coming(tmp_path: Path) -> None:
    line = Line(tmp_path)
    assert line.is_empty()
    with Line(tmp_path).joined() as firsts_turn:
        with line.joined() as seconds_turn:
            assert (firsts_turn(), seconds_turn()) == (True, False)
            assert not line.is_empty()
        with line.joined() as seconds_turn:
            assert (firsts_turn(), seconds_turn()) == (True, False)
    assert line.is_empty()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_was_killed_in_line_is_passed_over(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STANDS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"stands\n"
        with Line(tmp_path).joined() as our_turn:
            assert not our_turn()
            other.kill()
            other.wait()
            assert our_turn()
    assert list(tmp_path.iterdir()) == []
