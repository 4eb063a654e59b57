"""Calls and downloads that fail on their way, and would succeed a little later."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

from starlette.responses import Response

from dap_pipeline.errors import ServerError, UnreadableAnswerError
from dap_pipeline.sandbox import errors
from dap_pipeline.sandbox.faults import ALWAYS, Fault
from dap_pipeline.sandbox.faults_answers import HTML, changed, changed_json, made, reply, twice
from dap_pipeline.sandbox.faults_wire import Ending, dropped, lost
from dap_pipeline.sandbox.limits import Endpoint

from .outcomes import Recovers, TableFails
from .rows import API, COMMAND_LINE, EVERYWHERE, LAKE, Chapter, Row, always
from .service import School

_SOME = (Endpoint.LOGIN, Endpoint.DATA, Endpoint.OBJECT)

# Else a call of another table may be on its way when the first one is struck.
_ONE_BY_ONE = {"DAP_PIPELINE_PARALLEL_TABLES": "1"}


def _too_many_until_a_date() -> Response:
    answer = errors.too_many_requests(0).response()
    now = time.time()
    # By the clock of the answer: the school's own one has been set forward.
    answer.headers["Date"] = formatdate(now, usegmt=True)
    answer.headers["Retry-After"] = formatdate(now + 2, usegmt=True)
    return answer


def _too_many() -> Response:
    answer = errors.too_many_requests(0).response()
    del answer.headers["Retry-After"]
    return answer


def _three_bodies(status: int) -> tuple[Fault, ...]:
    error = {"error": {"type": "InternalError", "uuid": "5-0-0", "message": "Out of breath."}}
    bodies = (reply(status, HTML, "text/html"), reply(status, error), reply(status))
    return tuple(Fault(body, EVERYWHERE) for body in bodies)


def _status_row(status: int) -> Row:
    return Row(
        f"HTTP {status} three times, with a body of HTML, of JSON, and empty",
        "Tries again each time, after growing and jittered waits.",
        always(*_three_bodies(status)),
        Recovers(),
    )


def _one_job_a_table(school: School) -> None:
    assert len(school.jobs) == 3


def _of_another_shape(_: Any) -> list[None]:
    return [None]


CALLS = Chapter(
    "Calls and downloads that fail on the way",
    (
        Row(
            "HTTP 429 with Retry-After in seconds",
            "Leaves the endpoint alone for as long as it was told, then tries again.",
            always(Fault(made(errors.too_many_requests(1).response), EVERYWHERE)),
            Recovers(),
            settings=_ONE_BY_ONE,
            surfaces=(LAKE,),
            rest=1.0,
        ),
        Row(
            "HTTP 429 with Retry-After as a date",
            "Waits until that date by the server's own clock, then tries again.",
            always(Fault(made(_too_many_until_a_date), _SOME)),
            Recovers(),
            settings=_ONE_BY_ONE,
            surfaces=(COMMAND_LINE,),
            rest=0.9,
        ),
        Row(
            "HTTP 429 without Retry-After",
            "Rests for 30 seconds (60 times the first wait), then tries again.",
            always(Fault(made(_too_many), API)),
            Recovers(),
            settings={**_ONE_BY_ONE, "DAP_PIPELINE_RETRY_WAIT": "0.005"},
            rest=0.3,
        ),
        Row(
            "HTTP 429 of the object store without Retry-After",
            "Tries again, after growing and jittered waits.",
            always(Fault(made(_too_many), (Endpoint.OBJECT,), times=4)),
            Recovers(),
        ),
        *map(_status_row, (500, 502, 503, 504)),
        Row(
            "HTTP 503 with Retry-After",
            "Waits for as long as it was told.",
            always(Fault(reply(503, HTML, "text/html", {"Retry-After": "1"}), (Endpoint.DATA,))),
            Recovers(),
            settings=_ONE_BY_ONE,
            rest=1.0,
        ),
        Row(
            "the connection is closed before an answer begins",
            "Tries again.",
            always(Fault(dropped(Ending.CLOSED), EVERYWHERE, times=2)),
            Recovers(),
        ),
        Row(
            "the connection is reset before an answer begins",
            "Tries again.",
            always(Fault(dropped(Ending.RESET), EVERYWHERE, times=2)),
            Recovers(),
        ),
        Row(
            "malformed JSON",
            "Tries again.",
            always(Fault(changed(lambda body: body[:-3]), API, times=2)),
            Recovers(),
        ),
        Row(
            "JSON of another shape than documented",
            "Tries again.",
            always(Fault(changed_json(_of_another_shape), API)),
            Recovers(),
        ),
        Row(
            "JSON with another content type",
            "Tries again.",
            always(Fault(changed(bytes, headers={"Content-Type": "text/html"}), API)),
            Recovers(),
        ),
        Row(
            "every request is done but its first answer is lost",
            "Tries again; DAP answers a query that is asked again with the job that it has begun.",
            always(Fault(lost(), EVERYWHERE)),
            Recovers(),
            also=_one_job_a_table,
        ),
        Row(
            "every request arrives twice",
            "Is served as if it had arrived once.",
            always(Fault(twice(), EVERYWHERE, times=ALWAYS)),
            Recovers(free=True),
            also=_one_job_a_table,
        ),
        Row(
            "every third request fails, whatever it is",
            "Gets everything in the end, with no part fetched twice.",
            always(
                Fault(reply(503), EVERYWHERE, times=ALWAYS, probability=0.2),
                Fault(dropped(Ending.RESET), EVERYWHERE, times=ALWAYS, probability=0.17),
            ),
            Recovers(),
        ),
        Row(
            "one table's queries get HTTP 503 for ever",
            "The table fails when its patience is at an end; the others go on.",
            always(Fault(_three_bodies(503)[1].effect, (Endpoint.DATA,), "users", times=ALWAYS)),
            TableFails(ServerError, ("DAP answered 503", "5-0-0"), job=False, uuid=True),
            settings={"DAP_PIPELINE_RETRY_SECONDS": "0.5"},
        ),
        Row(
            "one table's queries are answered with a proxy's login page for ever",
            "The table fails and tells what came instead of JSON; the others go on.",
            always(Fault(reply(200, HTML, "text/html"), (Endpoint.DATA,), "users", times=ALWAYS)),
            TableFails(UnreadableAnswerError, ("'text/html' instead of",), job=False),
            settings={"DAP_PIPELINE_RETRY_SECONDS": "0.5"},
        ),
    ),
)
