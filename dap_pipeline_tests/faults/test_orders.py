"""Any order of lost, repeated and failed answers ends in the right table or in a clear failure."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import DapPipelineError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.records import Outcome
from dap_pipeline.sandbox import errors
from dap_pipeline.sandbox.faults import ALWAYS, Effect, Fault
from dap_pipeline.sandbox.faults_answers import changed, reply, twice
from dap_pipeline.sandbox.faults_wire import Ending, Framing, cut, dropped, lost
from dap_pipeline.sandbox.interceptors import Call, Proceed
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.settings import load_settings

from .proving import ORDERS, proves
from .rows import EVERYWHERE
from .service import School
from .surfaces import expected_rows, published_rows

pytestmark = pytest.mark.slow


class Script:
    """Does to each request what is written for it, endpoint by endpoint; then lets all pass.

    `again` is to give the last answer of the endpoint once more, as a cache would.
    """

    def __init__(self, words: Mapping[Endpoint, list[str]]) -> None:
        self._words = {endpoint: list(left) for endpoint, left in words.items()}
        self._last: dict[Endpoint, Response] = {}
        self._lock = threading.Lock()

    async def effect(self, call: Call, proceed: Proceed) -> Response:
        """Do what is next."""
        with self._lock:
            left = self._words.get(call.endpoint)
            word = left.pop(0) if left else "pass"
            last = self._last.get(call.endpoint)
        if word == "again" and last is not None:
            return last
        answer = await (_EFFECTS[word](call, proceed) if word in _EFFECTS else proceed())
        if isinstance(answer, JSONResponse):
            self._last[call.endpoint] = answer
        return answer


_EFFECTS: Mapping[str, Effect] = {
    "lost": lost(),
    "lost at the end": lost(Ending.CLOSED),
    "never came": dropped(Ending.RESET),
    "twice": twice(),
    "503": reply(503),
    "401": reply(401, {"error": errors.unauthenticated("Old.").details()}),
    "404": reply(404, {"error": errors.not_found("object", "0").details()}),
    "cut": cut(framing=Framing.CHUNKED, etag=False),
    "nothing": changed(lambda _: b"", without=("etag",)),
}
_WORDS = st.lists(st.sampled_from(["pass", "again", *_EFFECTS]), max_size=4)
_SCRIPTS = st.fixed_dictionaries(dict.fromkeys(EVERYWHERE, _WORDS))
_USERS = TableName("canvas", "users")


def load() -> Outcome | DapPipelineError:
    try:
        with Engine.open(load_settings()) as engine:
            return engine.load(_USERS).outcome
    except DapPipelineError as error:
        return error


@proves(
    ORDERS,
    "lost, repeated, doubled, cut and failed answers in any order",
    "Ends in the right table or in a failure that says what to do and has published nothing; the "
    "next run finishes.",
)
@given(script=_SCRIPTS)
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_of_answers_ends_well(
    script: Mapping[Endpoint, list[str]], school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as work:
        for name, value in school.environment(Path(work), **_FEW_TRIES).items():
            monkeypatch.setenv(name, value)
        school.begin(Fault(Script(script).effect, EVERYWHERE, times=ALWAYS))
        first = load()
        if isinstance(first, DapPipelineError):
            assert str(first).endswith(first.what_to_do)
            assert first.what_to_do.endswith(".")
            assert published_rows("users") is None
            school.faults.switch_off()
            assert load() is Outcome.LOADED
        else:
            assert first is Outcome.LOADED
        assert published_rows("users") == expected_rows("users")


_FEW_TRIES = {"DAP_PIPELINE_RETRY_SECONDS": "2"}
