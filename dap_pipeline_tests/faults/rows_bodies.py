"""Downloads that are not what they should be, or not as fast."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pyarrow.parquet as pq

from dap_pipeline.errors import DamagedObjectError, ServerError, UnreachableError
from dap_pipeline.sandbox.faults import ALWAYS, Effect, Fault
from dap_pipeline.sandbox.faults_answers import HTML, changed, packed_once_more, reply
from dap_pipeline.sandbox.faults_wire import Ending, Framing, cut, silent, slow, stalled
from dap_pipeline.sandbox.limits import Endpoint

from .outcomes import Outcome, Recovers, TableFails
from .rows import LAKE, Chapter, Row, always

_OBJECT = (Endpoint.OBJECT,)
# With so short an idle timeout, a busy machine can seem to stall as well.
_STALLS = dict.fromkeys(Endpoint, (0, 8))


def _row(
    fault: str,
    does: str,
    effect: Effect,
    times: int = 2,
    *,
    free: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Row:
    struck = always(Fault(effect, _OBJECT, "users", times))
    outcome = Recovers(_STALLS if settings else {}, free=free)
    return Row(fault, does, struck, outcome, settings=settings or {})


def _for_ever(fault: str, does: str, effect: Effect, outcome: Outcome, **more: str) -> Row:
    return Row(
        f"{fault}, for ever",
        does,
        always(Fault(effect, _OBJECT, "users", ALWAYS)),
        outcome,
        settings=more,
    )


def _altered(body: bytes) -> bytes:
    """Flip bits in the middle, in more bytes than a page's header has.

    Of what a header says besides the page, a wrong bit may do no harm, and then goes unnoticed.
    """
    start, length = len(body) // 2, min(128, len(body) // 4)
    stretch = bytes(byte ^ 1 for byte in body[start : start + length])
    return body[:start] + stretch + body[start + length :]


def _altered_page(body: bytes) -> bytes:
    """Flip a bit of a value, in a file with the checksums that Spark writes."""
    table = pq.read_table(io.BytesIO(body))
    written = io.BytesIO()
    pq.write_table(table, written, compression="none", write_page_checksum=True)
    whole = written.getvalue()
    name = whole.index(b"User ") + 2
    return whole[:name] + bytes([whole[name] ^ 1]) + whole[name + 1 :]


_AS_IT_IS = ("etag",)
_DAMAGED = TableFails(DamagedObjectError)
_GIVES_UP = "The table fails after four tries and nothing of it is published; the others go on."

BODIES = Chapter(
    "Downloads that are cut, altered or something else",
    (
        _row("a body cut short of its length", "Goes on where it stopped, with a range.", cut()),
        _row("a body cut short of its length by a reset", "The same.", cut(ending=Ending.RESET)),
        _row("a body cut between its chunks", "The same.", cut(framing=Framing.CHUNKED)),
        _row(
            "a body of no known length, cut",
            "Decodes it to its end, finds that it is cut, and fetches it again.",
            cut(framing=Framing.CLOSE, etag=False),
        ),
        _row(
            "a body cut by a store without ranges",
            "Fetches it again from its beginning.",
            cut(0.7, etag=False),
        ),
        _row(
            "a cut file of the length that was told",
            "Decodes every file to its end; one that is cut is fetched again.",
            changed(lambda body: body[:-10], without=_AS_IT_IS),
        ),
        _row("an empty body", "Fetches it again.", changed(lambda _: b"", without=_AS_IT_IS)),
        _row(
            "altered bytes",
            "Finds them by the checksums of gzip and Parquet, and fetches the file again.",
            changed(_altered, without=_AS_IT_IS),
        ),
        Row(
            "an altered value in a Parquet page",
            "Finds it by the page's checksum, and fetches the file again.",
            always(Fault(changed(_altered_page, without=_AS_IT_IS), _OBJECT, "users")),
            Recovers(),
            surfaces=(LAKE,),
        ),
        _row("an HTML page with 200", "Fetches it again.", reply(200, HTML, "text/html")),
        _row(
            "Content-Encoding added by a proxy",
            "Does not unpack it on a guess, but fetches it again.",
            packed_once_more(),
        ),
        _for_ever(
            "a cut file of the length that was told",
            _GIVES_UP,
            changed(lambda body: body[:-10], without=_AS_IT_IS),
            _DAMAGED,
        ),
        _for_ever("altered bytes", _GIVES_UP, changed(_altered, without=_AS_IT_IS), _DAMAGED),
        _for_ever("an HTML page with 200", _GIVES_UP, reply(200, HTML, "text/html"), _DAMAGED),
        _for_ever("Content-Encoding by a proxy", _GIVES_UP, packed_once_more(), _DAMAGED),
        _for_ever(
            "HTTP 503 of the object store",
            "The table fails when its patience is at an end; the others go on.",
            reply(503, HTML, "text/html"),
            TableFails(ServerError, ("answered 503 to the download",)),
            DAP_PIPELINE_RETRY_SECONDS="0.5",
        ),
    ),
)

_IMPATIENT = {"DAP_PIPELINE_IDLE_TIMEOUT": "0.7"}
_TOO_SLOW = {**_IMPATIENT, "DAP_PIPELINE_RETRY_SECONDS": "1.5"}

SLOWNESS = Chapter(
    "Slow answers",
    (
        _row(
            "a body that stalls half way",
            "Cuts it after the idle timeout (60 seconds) and goes on where it stopped.",
            stalled(),
            1,
            settings=_IMPATIENT,
        ),
        _row(
            "a slow body that takes longer than the idle timeout",
            "Goes on: there is no limit on the whole as long as bytes arrive.",
            slow(pieces=16, gap=0.1),
            1,
            free=True,
            settings=_IMPATIENT,
        ),
        Row(
            "no answer at all",
            "Ends the wait after the idle timeout and tries again.",
            always(Fault(silent(), (Endpoint.LOGIN, Endpoint.DATA, Endpoint.OBJECT))),
            Recovers(_STALLS),
            settings=_IMPATIENT,
        ),
        _for_ever(
            "a body that never begins",
            "The table fails when its patience is at an end; the others go on.",
            stalled(0.0),
            TableFails(UnreachableError, ("broke (",)),
            **_TOO_SLOW,
        ),
    ),
)
