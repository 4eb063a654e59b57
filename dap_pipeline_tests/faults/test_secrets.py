"""The search for secrets, which every row of the table ends with, finds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dap_pipeline.sandbox.faults import ALWAYS, Fault
from dap_pipeline.sandbox.interceptors import Call, Proceed
from dap_pipeline.sandbox.limits import Endpoint

from .checking import check_secrets
from .proving import SECRETS, proves
from .service import TABLES, School
from .surfaces import CommandLine

pytestmark = pytest.mark.slow


@proves(
    SECRETS,
    "any fault of this page on the command line, in the lake or in Dagster",
    "Writes no client secret, token or signature of a link into any file, log line, event or "
    "text: every row is run with known ones, and every byte is searched for them.",
)
def test_the_search_finds_each_kind_of_secret(
    school: School, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in school.environment(work / "data").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(work)
    school.begin()
    surface = CommandLine(work, capsys)
    assert surface.run().done == frozenset(TABLES)
    check_secrets(school, work, surface.written)
    # A token, the links of four objects, the client secret, and the two halves of a login.
    assert len(school.secrets()) == 1 + 4 + 1 + 1
    for secret in school.secrets():
        with pytest.raises(AssertionError):
            check_secrets(school, work, f"before {secret.decode()} behind")
        (work / "deep").mkdir(exist_ok=True)
        file = work / "deep" / "some.log"
        file.write_bytes(b"before " + secret + b" behind")
        with pytest.raises(AssertionError):
            check_secrets(school, work)
        file.unlink()
    with pytest.raises(AssertionError):
        check_secrets(school, work, "https://store.example/x?x-amz-signature=")


_HASTIER = {"DAP_PIPELINE_RETRY_SECONDS": "0.5"}


def _refused_with_its_link() -> Fault:
    """Refuse a download with a body, a reason and headers that repeat the signed link."""

    class Repeating(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            link = f"http://store.example{scope['path']}?{scope['query_string'].decode()}"
            said = Response(f"<Error>{link}</Error>", 403, {"x-link": link}, "application/xml")
            await said(scope, receive, send)

    async def effect(_call: Call, _proceed: Proceed) -> Response:
        return Repeating()

    return Fault(effect, (Endpoint.OBJECT,), "users", ALWAYS)


@proves(
    SECRETS,
    "the words of a fault repeat a link",
    "Tells of a link no more than its host.",
)
def test_a_link_that_is_refused_is_not_repeated(
    school: School, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in school.environment(work / "data", **_HASTIER).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(work)
    school.begin(_refused_with_its_link())
    surface = CommandLine(work, capsys)
    failure = surface.run().failures["users"]
    assert "answered 403 to the download" in failure.text
    assert school.faults.strikes
    check_secrets(school, work, surface.written)
