from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from benchmarks.contenders import by_its_own_clock, timed
from benchmarks.launcher import Sampler

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def python(program: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", program]


def test_a_contender_is_not_measured_by_what_the_bench_itself_holds(tmp_path: Path) -> None:
    held = b"x" * 200_000_000
    small = timed(python("pass"), ENVIRONMENT, tmp_path)
    assert small.peak_mb < 100 < len(held) / 1e6
    large = timed(python("held = b'x' * 150_000_000"), ENVIRONMENT, tmp_path)
    assert large.peak_mb > 150


def test_threads_and_open_files_are_counted_from_outside() -> None:
    """The most at any time is told, though there are fewer later."""
    program = "import threading; import os; files = [open(os.devnull) for _ in range(50)];" + (
        "ending = threading.Event();"
        "threads = [threading.Thread(target=ending.wait) for _ in range(20)];"
        "[each.start() for each in threads]; print('ready', flush=True); input();"
        "ending.set(); [each.join() for each in threads]; print('fewer', flush=True); input()"
    )
    with subprocess.Popen(python(program), stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        sampler = Sampler(process.pid)
        for word in ("ready", "fewer"):
            assert process.stdout.readline().strip() == word
            sampler.look()
            process.stdin.write("\n")
            process.stdin.flush()
    assert sampler.threads == 21
    assert sampler.files >= 53
    sampler.look()
    assert sampler.threads == 21


def test_a_contender_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3: no luck"):
        timed(python("print('no luck', flush=True); raise SystemExit(3)"), ENVIRONMENT, tmp_path)


def test_a_contender_may_time_itself(tmp_path: Path) -> None:
    taken = timed(python("print(0.125)"), ENVIRONMENT, tmp_path)
    assert by_its_own_clock(taken, tmp_path).seconds == 0.125
