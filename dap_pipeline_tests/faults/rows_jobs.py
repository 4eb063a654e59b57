"""Tokens, links, objects and jobs that end or fail, and accounts that may not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from dap_pipeline.errors import (
    AccountError,
    DapError,
    DapPipelineError,
    ForbiddenError,
    InvalidQueryError,
    JobFailedError,
    JobTimeoutError,
    LinkExpiredError,
    LoginRefusedError,
    NotFoundError,
    RequestForbiddenError,
    TokenRefusedError,
    UnknownJobStateError,
    UnknownTableError,
)
from dap_pipeline.sandbox import errors
from dap_pipeline.sandbox.errors import ApiError, Location
from dap_pipeline.sandbox.faults import ALWAYS, Effect, Fault, JobFault
from dap_pipeline.sandbox.faults_answers import changed_json, made, reply
from dap_pipeline.sandbox.faults_links import links_lacking_one
from dap_pipeline.sandbox.interceptors import Call, Proceed
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.objects import LinkError

from .outcomes import Recovers, RunEnds, TableFails
from .rows import Chapter, Row, always
from .service import School

_LOGIN, _DATA, _JOB = Endpoint.LOGIN, Endpoint.DATA, Endpoint.JOB
_SCHEMA, _LINKS, _OBJECT = Endpoint.SCHEMA, Endpoint.OBJECT_URL, Endpoint.OBJECT


def _refused(error: ApiError | LinkError) -> Effect:
    return made(error.response)


_NO_TOKEN = _refused(errors.unauthenticated("The access token has expired."))
_LINK_OVER = _refused(LinkError(403, "AccessDenied", "Request has expired"))
_NO_OBJECT = _refused(LinkError(404, "NoSuchKey", "The specified key does not exist."))
_NO_JOB = _refused(errors.not_found("job", "0"))
_ONE_BY_ONE = {"DAP_PIPELINE_PARALLEL_TABLES": "1"}


def _hours_later(hours: float) -> Any:
    """Let so much time pass at the service before the request is looked at."""

    def faults(school: School) -> Sequence[Fault]:
        async def effect(_call: Call, proceed: Proceed) -> Response:
            school.sandbox.advance(hours)
            return await proceed()

        return (Fault(effect, (_OBJECT,), "users"),)

    return faults


def _state(state: str) -> Effect:
    def change(job: Any) -> Any:
        return {"id": job["id"], "status": state}

    return changed_json(change, status=202)


EXPIRY = Chapter(
    "Tokens, links, objects and jobs that come to their end",
    (
        Row(
            "401 in mid-run",
            "Logs in anew, once, and goes on.",
            always(*(Fault(_NO_TOKEN, (endpoint,)) for endpoint in (_DATA, _JOB, _LINKS))),
            Recovers({_LOGIN: (1, 3)}),
            settings=_ONE_BY_ONE,
        ),
        Row(
            "401 for ever",
            "The table fails after one new login; the others go on.",
            always(Fault(_NO_TOKEN, (_JOB,), "users", ALWAYS)),
            TableFails(TokenRefusedError, ("has expired",), uuid=True, calls={_LOGIN: (2, 4)}),
            settings=_ONE_BY_ONE,
        ),
        Row(
            "a link that has expired (403 with XML)",
            "Asks for a new link and goes on.",
            always(Fault(_LINK_OVER, (_OBJECT,), "users", 2)),
            Recovers({_LINKS: (1, 2)}),
        ),
        Row(
            "all links expire during the download",
            "Asks for new links and goes on.",
            _hours_later(0.4),
            Recovers({_LINKS: (1, 3), _OBJECT: (-1, 3)}),
        ),
        Row(
            "links that are always refused",
            "The table fails when its patience is at an end; the others go on.",
            always(Fault(_LINK_OVER, (_OBJECT,), "users", ALWAYS)),
            TableFails(LinkExpiredError, ("answered 403 to the download",)),
            settings={"DAP_PIPELINE_RETRY_SECONDS": "0.5"},
        ),
        Row(
            "an object is gone (404)",
            "Asks the query again, once, and takes the job that it gets.",
            always(Fault(_NO_OBJECT, (_OBJECT,), "users")),
            Recovers({_DATA: (1, 1), _LINKS: (1, 1), _OBJECT: (0, 2), _SCHEMA: (0, 0)}),
        ),
        Row(
            "an object stays gone",
            "The table fails after one new query; the others go on.",
            always(Fault(_NO_OBJECT, (_OBJECT,), "users", ALWAYS)),
            TableFails(NotFoundError, calls={_DATA: (4, 4)}),
        ),
        Row(
            "a job is gone (404)",
            "Asks the query again, once.",
            always(Fault(_NO_JOB, (_JOB,), "users")),
            Recovers({_DATA: (1, 1)}),
        ),
        Row(
            "a job stays gone",
            "The table fails after one new query; the others go on.",
            always(
                Fault(_NO_JOB, (_JOB,), "users", ALWAYS),
                Fault(_state("running"), (_DATA,), "users", ALWAYS),
            ),
            TableFails(NotFoundError, uuid=True),
        ),
        Row(
            "job, objects, links and token expire together during the download",
            "Logs in anew, asks the query again and takes the new job.",
            _hours_later(25),
            Recovers({_LOGIN: (1, 1), _DATA: (1, 2), _LINKS: (1, 5), _OBJECT: (-1, 9)}),
            settings=_ONE_BY_ONE,
        ),
        Row(
            "the answer lacks the link of an object",
            "Asks once more for the link that is lacking.",
            always(Fault(links_lacking_one(), (_LINKS,), "users")),
            Recovers(),
        ),
        Row(
            "the link of an object is never given",
            "The table fails after one new query, and is not published without the part.",
            always(Fault(links_lacking_one(), (_LINKS,), "users", ALWAYS)),
            TableFails(NotFoundError, ("no link for an object",), calls={_DATA: (4, 4)}),
        ),
    ),
)

JOBS = Chapter(
    "Jobs",
    (
        Row(
            "a job fails",
            "Is tried again after 30 seconds, then after 60.",
            always(JobFault("There is no data available yet.", "users", 2)),
            Recovers({_DATA: (2, 2)}),
        ),
        Row(
            "a job fails without a message",
            "The same.",
            always(JobFault("", "users")),
            Recovers({_DATA: (1, 1)}),
        ),
        Row(
            "a job fails each time",
            "The table fails after three tries, with type, message and uuid of the last.",
            always(JobFault("No file could be written.", "users", ALWAYS)),
            TableFails(
                JobFailedError,
                ("No file could be written", "ProcessingError"),
                uuid=True,
                calls={_DATA: (5, 5)},
            ),
        ),
        Row(
            "a job fails each time without a message",
            "The table fails after three tries, with type and uuid of the last.",
            always(JobFault("", "users", ALWAYS)),
            TableFails(JobFailedError, ("without a message", "ProcessingError"), uuid=True),
        ),
        Row(
            "a job that never ends",
            "The table fails at the job's deadline (6 hours); the others go on meanwhile.",
            always(Fault(_state("running"), (_JOB, _DATA), "users", ALWAYS)),
            TableFails(JobTimeoutError, ("still running after 1 seconds",), calls={_DATA: (3, 3)}),
            settings={"DAP_PIPELINE_JOB_TIMEOUT": "1"},
        ),
        Row(
            "a job in an unknown state",
            "The table fails at once and names the state.",
            always(Fault(_state("paused"), (_JOB,), "users", ALWAYS)),
            TableFails(UnknownJobStateError, ("'paused'",), calls={_DATA: (3, 3)}),
        ),
    ),
)


def _account(kind: str, status: int) -> ApiError:
    return ApiError(status, kind, "Speak to your administrator.")


def _account_row(kind: str, status: int, says: str) -> Row:
    return Row(
        f"{kind} ({status})",
        "The run ends at once with one message; no call is made for the remaining tables.",
        always(Fault(_refused(_account(kind, status)), (_DATA,), times=ALWAYS)),
        RunEnds(AccountError, (says,), {_LOGIN: (1, 1), _DATA: (1, 1), _JOB: (0, 0)}),
        settings=_ONE_BY_ONE,
    )


_NO_CALLS = {endpoint: (0, 0) for endpoint in Endpoint if endpoint is not _LOGIN}
_WRONG = "Check DAP_CLIENT_ID and DAP_CLIENT_SECRET"

ACCOUNT = Chapter(
    "Credentials and accounts",
    (
        *(
            Row(
                f"bad credentials (login answers {status})",
                "The run ends at once with one message after one login; no other call is made.",
                always(Fault(_refused(ApiError(status, "X", "No.")), (_LOGIN,), times=ALWAYS)),
                RunEnds(LoginRefusedError, (_WRONG,), {**_NO_CALLS, _LOGIN: (1, 1)}),
            )
            for status in (400, 401, 403)
        ),
        Row(
            "credentials are revoked in mid-run",
            "The run ends with one message; no call is made for the remaining tables.",
            always(
                Fault(_NO_TOKEN, (_DATA,), times=ALWAYS),
                Fault(_refused(errors.bad_credentials()), (_LOGIN,), times=ALWAYS, skip=1),
            ),
            RunEnds(LoginRefusedError, (_WRONG,), {_LOGIN: (2, 2), _DATA: (1, 1), _JOB: (0, 0)}),
            settings=_ONE_BY_ONE,
        ),
        _account_row("AccountDisabled", 403, "the account is disabled"),
        _account_row("AccountNotOnboarded", 403, "the account is not onboarded"),
        _account_row("AccountNotOnboarded", 500, "the account is not onboarded"),
        _account_row("AccountUnderMaintenance", 403, "the account is under maintenance"),
    ),
)


def _table_row(
    fault: str,
    answer: ApiError,
    error: type[DapError | DapPipelineError],
    says: str,
    more: str = "",
) -> Row:
    return Row(
        fault,
        f"This table fails at once, with DAP's message and uuid; the others go on.{more}",
        always(Fault(_refused(answer), (_DATA,), "users", ALWAYS)),
        TableFails(error, (says,), job=False, uuid=True, calls={_DATA: (3, 3)}),
    )


_FORBIDDEN = ApiError(403, "RequestTypeForbidden", "Snapshots are not allowed.")
_VALIDATION = errors.validation("Unknown format.", Location(1, 1, 1))

ONE_TABLE = Chapter(
    "One table is refused",
    (
        _table_row(
            "RequestTypeForbidden",
            _FORBIDDEN,
            RequestForbiddenError,
            "not allowed",
            " Where only increments are forbidden, `auto` takes snapshots.",
        ),
        _table_row(
            "NotFound: the table has vanished",
            errors.not_found("table", "users"),
            UnknownTableError,
            "Table does not exist",
        ),
        _table_row("Validation", _VALIDATION, InvalidQueryError, "Unknown format"),
        Row(
            "403 with an empty body",
            "This table fails at once; the others go on.",
            always(Fault(reply(403), (_DATA,), "users", ALWAYS)),
            TableFails(ForbiddenError, ("firewall",), job=False, calls={_DATA: (3, 3)}),
        ),
    ),
)
