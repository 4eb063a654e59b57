"""Row about many tables at once of which DAP has nothing new."""

from __future__ import annotations

import sys
from functools import partial

from benchmarks.contenders import OURS, by_its_own_clock, timed
from benchmarks.harness import Bench, Contender, Figure, Row, Taken, at_most, row, take_turns
from benchmarks.samples import plain_file
from benchmarks.service import (
    NAMESPACE,
    ReadyTable,
    RunningService,
    ServiceSpec,
    numbered,
    running_service,
)

_TABLES, _PARALLEL = 100, 10
_UNLIMITED = {
    "DAP_PIPELINE_CREATES_PER_MINUTE": "1000000",
    "DAP_PIPELINE_LISTS_PER_MINUTE": "1000000",
    "DAP_PIPELINE_POLLS_PER_MINUTE": "1000000",
}
# The first load of each is a snapshot. Each mode has a lake of its own.
_MODES = {"snapshot": "snapshot", "auto": "increment"}


@row("nothing-new", order=120)
def nothing_new(bench: Bench) -> Row:
    """Load 100 tables that have not changed, as snapshots and by increments."""
    file = plain_file(bench.scratch / "files")
    tables = tuple(ReadyTable(name, (file,)) for name in numbered(_TABLES))
    (bench.scratch / "run").mkdir()
    with running_service(ServiceSpec(bench.scratch / "service", tables)) as service:
        for mode in _MODES:
            _load(bench, service, mode)
        before = _downloads(service)
        contenders = [
            each
            for mode, query in _MODES.items()
            for each in (
                Contender(_load_name(mode), partial(_load, bench, service, mode)),
                Contender(_answers_name(query), partial(_answers, bench, service, query)),
            )
        ]
        turns = take_turns(contenders, bench.rounds(5))
        downloads = _downloads(service) - before
    own = {
        mode: turns.longer(_load_name(mode), _answers_name(query)) for mode, query in _MODES.items()
    }
    return Row(
        f"`load` of {_TABLES} tables with nothing new",
        turns.contenders,
        [
            Figure.of_value("link requests", downloads, "", at_most(0, "")),
            Figure.of_value(
                "a snapshot that is published already, beyond DAP's answers",
                own["snapshot"],
                "s",
                at_most(1, "s"),
            ),
            Figure.of_value(
                "increments without a record, beyond DAP's answers",
                own["auto"],
                "s",
                at_most(1, "s"),
            ),
        ],
        turns.rounds,
        turns.service_share,
        "`load` is the whole command, starting Python included; the answers are timed from the "
        "first request to the last answer, as many at a time and asked for as soon. Each "
        "increment is a new job and moves the watermark. Without a link nothing is downloaded.",
    )


def _load_name(mode: str) -> str:
    return f"load --mode {mode}"


def _answers_name(query: str) -> str:
    return f"answers alone, {query}"


def _load(bench: Bench, service: RunningService, mode: str) -> Taken:
    environment = service.environment(bench.scratch / f"data-{mode}", **_UNLIMITED)
    what = ["--namespace", NAMESPACE, "--table", ",".join(numbered(_TABLES)), "--mode", mode]
    return timed([*OURS, "load", *what], environment, bench.scratch / "run", service)


def _answers(bench: Bench, service: RunningService, query: str) -> Taken:
    program = [sys.executable, "-m", "benchmarks.plain_answers"]
    told = [query, str(_TABLES), str(_PARALLEL)]
    environment, folder = service.environment(bench.scratch / "none"), bench.scratch / "run"
    return by_its_own_clock(timed([*program, *told], environment, folder, service), folder)


def _downloads(service: RunningService) -> int:
    return service.requests()["object_url"]
