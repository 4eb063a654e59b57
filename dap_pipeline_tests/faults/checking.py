"""Runs a row on a surface and holds what came of it against what must."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dap_pipeline import errors
from dap_pipeline.errors import DapPipelineError
from dap_pipeline.sandbox.faults import Fault
from dap_pipeline.sandbox.limits import Endpoint

from .outcomes import Ended, Failure, Range, Recovers, RunEnds, TableFails
from .rows import Row
from .service import TABLES, School
from .surfaces import Surface

# Polls are not counted: how many it takes depends on the machine.
_COUNTED = tuple(endpoint for endpoint in Endpoint if endpoint is not Endpoint.JOB)
_LINK_QUERY = re.compile(rb"X-Amz-Signature=", re.IGNORECASE)


def check(row: Row, school: School, surface: Surface) -> None:
    """Run the pipeline under the row's fault, and check all that came of it."""
    school.begin(*row.faults(school))
    ended = surface.run()
    _check_strikes(row, school, surface)
    match row.outcome:
        case Recovers():
            _check_recovery(row.outcome, ended, school, surface)
        case TableFails():
            _check_table_failed(row.outcome, ended, school)
        case RunEnds():
            _check_run_ended(row.outcome, ended, school)
    surface.check(school, ended)
    if row.rest:
        _check_rests(school, row.rest)
    if row.also is not None:
        row.also(school)


def _check_strikes(row: Row, school: School, surface: Surface) -> None:
    """Make sure that the fault has struck: else the row would prove nothing."""
    assert school.faults.strikes or school.faults.jobs_failed
    if isinstance(row.outcome, Recovers):
        sure = [f for f in row.faults(school) if isinstance(f, Fault) and f.probability == 1]
        aimed = {endpoint for fault in sure for endpoint in fault.endpoints}
        assert aimed & set(surface.clean) <= set(school.faults.struck())


def _check_recovery(outcome: Recovers, ended: Ended, school: School, surface: Surface) -> None:
    assert (ended.done, dict(ended.failures), ended.ended_by) == (frozenset(TABLES), {}, None)
    struck = school.faults.struck()
    for endpoint in _COUNTED:
        low, high = outcome.extra.get(endpoint, (0, 0))
        least = surface.clean[endpoint] + (0 if outcome.free else struck[endpoint])
        assert least + low <= school.calls[endpoint] <= least + high, endpoint


def _check_table_failed(outcome: TableFails, ended: Ended, school: School) -> None:
    assert ended.ended_by is None
    assert set(ended.failures) == {"users"}
    assert ended.done == frozenset(TABLES) - {"users"}
    failure = ended.failures["users"]
    _check_failure(failure, outcome.error, outcome.says)
    assert failure.table == "users"
    assert failure.text.startswith("canvas.users: ")
    _check_ids(failure, outcome, school)
    _check_calls(outcome.calls, school)


def _check_ids(failure: Failure, outcome: TableFails, school: School) -> None:
    assert (failure.job_id is not None) == outcome.job, failure.text
    assert (failure.uuid is not None) == outcome.uuid, failure.text
    for known in (failure.job_id, failure.uuid):
        assert known is None or known in failure.text
    assert failure.job_id is None or failure.job_id in school.faults.jobs_of("users")


def _check_run_ended(outcome: RunEnds, ended: Ended, school: School) -> None:
    assert ended.ended_by is not None
    _check_failure(ended.ended_by, outcome.error, outcome.says)
    assert not ended.done
    assert len(ended.failures) <= 1
    _check_calls(outcome.calls, school)


def _check_failure(failure: Failure, kind: type[DapPipelineError], says: Iterable[str]) -> None:
    assert failure.error in ("", kind.__name__), failure.text
    for word in says:
        assert word in failure.text
    last = failure.text.rstrip().splitlines()[-1]
    assert any(last.endswith(advice) for advice in _advice(kind)), failure.text


def _advice(kind: type[DapPipelineError]) -> set[str]:
    """List what the class may tell a user to do; the last sentence must be one of them."""
    return {kind.advice, *_MORE_ADVICE.get(kind, ())}


_MORE_ADVICE: Mapping[type[DapPipelineError], tuple[str, ...]] = {
    errors.ConfigurationError: ("Check that DAP_API_URL names the DAP gateway.",),
}


def _check_calls(wanted: Mapping[Endpoint, Range], school: School) -> None:
    for endpoint, (low, high) in wanted.items():
        assert low <= school.calls[endpoint] <= high, endpoint


def _check_rests(school: School, seconds: float) -> None:
    """Check that what was struck was left alone for so long."""
    for strike in school.faults.strikes:
        later = [
            call.at - strike.at
            for call in school.faults.calls
            if call.call == strike.call and call.at > strike.at
        ]
        assert later, "it was never tried again"
        assert min(later) >= seconds, strike.call


def check_secrets(school: School, work: Path, *texts: str) -> None:
    """Look for the service's secrets in every byte that was written."""
    secrets = school.secrets()
    for place, content in _written(work, texts):
        for secret in secrets:
            assert secret not in content, place
        assert not _LINK_QUERY.search(content), place


def _written(work: Path, texts: Iterable[str]) -> Iterable[tuple[str, bytes]]:
    for text in texts:
        yield "output", text.encode()
    for file in work.rglob("*"):
        yield "file name", str(file.relative_to(work)).encode()
        if file.is_file():
            yield str(file), file.read_bytes()
