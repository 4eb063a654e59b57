from __future__ import annotations

import base64
import threading
import time
import traceback
from pathlib import Path

import jwt
import pytest

from dap_pipeline.dap.login import Credentials, Login
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    ConfigurationError,
    DapPipelineError,
    LoginRefusedError,
    MissingCredentialsError,
    RateLimitedError,
    ServerError,
    TokenRefusedError,
)
from dap_pipeline.settings import load_settings

from .parts import ONCE, SECRET, TABLES, WatchedStop, client_of, http_to
from .scripted import LOGIN, LOST, Answer, ScriptedServer, fails, says

TABLE_LIST = says({"tables": ["users", "courses"]})


def token(text: str, **more: object) -> Answer:
    return says({"access_token": text, **more})


def login_to(server: ScriptedServer) -> Login:
    return Login(http_to(server.url), Credentials("us-west-2#school", SECRET))


def test_the_login_sends_the_credentials_as_instructure_wants_them(server: ScriptedServer) -> None:
    server.on(LOGIN, token("t1", expires_in=3600, scope="dap", token_type="Bearer"))
    assert login_to(server).token() == "t1"
    (seen,) = server.seen
    assert seen.method == "POST"
    assert seen.body == b"grant_type=client_credentials"
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    pair = base64.b64encode(f"us-west-2#school:{SECRET}".encode()).decode()
    assert seen.headers["authorization"] == f"Basic {pair}"


def test_a_token_is_used_as_long_as_it_is_good(server: ScriptedServer) -> None:
    server.on(LOGIN, token("t1", expires_in=3600))
    login = login_to(server)
    assert {login.token() for _ in range(10)} == {"t1"}
    assert len(server.seen) == 1


def test_many_threads_that_want_a_token_log_in_once(server: ScriptedServer) -> None:
    server.on(LOGIN, token("t1", expires_in=3600))
    login = login_to(server)
    tokens: list[str] = []
    threads = [threading.Thread(target=lambda: tokens.append(login.token())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tokens == ["t1"] * 8


def test_a_token_is_renewed_before_its_end(server: ScriptedServer) -> None:
    server.on(LOGIN, token("t1", expires_in=0.6), token("t2", expires_in=3600))
    login = login_to(server)
    assert login.token() == "t1"
    had = now = time.monotonic()
    while login.token() == "t1":
        assert now - had < 0.45, "the token was used until its end"
        now = time.monotonic()
    assert login.token() == "t2"


def test_a_token_of_a_few_minutes_is_not_renewed_at_each_call(server: ScriptedServer) -> None:
    server.on(LOGIN, token("t1", expires_in=240))
    login = login_to(server)
    assert {login.token() for _ in range(5)} == {"t1"}


LONG = "-for-a-key-that-is-long-enough" * 2


def test_a_token_that_is_a_jwt_tells_its_own_lifetime(server: ScriptedServer) -> None:
    now = time.time()
    short = jwt.encode({"iat": now - 7200, "exp": now - 7199.5}, LONG)
    server.on(LOGIN, token(short), token("t2"))
    login = login_to(server)
    assert login.token() == short
    end = time.monotonic() + 60
    while login.token() == short:
        assert time.monotonic() < end
    assert login.token() == "t2"


ODD_LIFETIMES = [None, 0, -5, "-1", float("nan")]
ODD_TOKENS = [
    "no-jwt",
    jwt.encode({"exp": 5}, LONG),
    jwt.encode({"iat": 9, "exp": 5}, LONG),
    "a.b.c",
]


@pytest.mark.parametrize("expires_in", ODD_LIFETIMES)
@pytest.mark.parametrize("text", ODD_TOKENS)
def test_a_token_without_a_sensible_lifetime_is_taken_for_one_of_an_hour(
    server: ScriptedServer, text: str, expires_in: object
) -> None:
    server.on(LOGIN, token(text, expires_in=expires_in))
    login = login_to(server)
    assert {login.token() for _ in range(3)} == {text}


def test_a_token_that_was_refused_is_renewed_once(server: ScriptedServer, tmp_path: Path) -> None:
    server.on(LOGIN, token("t1"), token("t2"))
    server.on(TABLES, fails(401, "AuthenticationError"), TABLE_LIST)
    stop = WatchedStop()
    assert client_of(server.url, tmp_path).list_tables("canvas", stop) == ("courses", "users")
    used = [seen.headers["authorization"] for seen in server.at(TABLES)]
    assert used == ["Bearer t1", "Bearer t2"]
    assert stop.waits == []


def test_a_fresh_token_that_is_refused_too_is_an_error(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.on(LOGIN, token("t1"), token("t2"))
    server.on(TABLES, fails(401), fails(401, message="No."))
    with pytest.raises(TokenRefusedError, match="No") as caught:
        client_of(server.url, tmp_path).list_tables("canvas", Stop())
    assert "t1" not in str(caught.value)
    assert "t2" not in str(caught.value)


def test_a_token_that_another_thread_has_renewed_is_not_forgotten(server: ScriptedServer) -> None:
    server.on(LOGIN, token("t1"), token("t2"))
    login = login_to(server)
    login.forget(login.token())
    assert login.token() == "t2"
    login.forget("t1")
    assert login.token() == "t2"


@pytest.mark.parametrize(
    "trouble",
    [
        says({"message": "slow down"}, 429, Retry_After="0"),
        fails(500),
        says({"message": "timed out"}, 504),
        Answer(502, b"<html>"),
        Answer(200, b"<html>", {"Content-Type": "text/html"}),
        says({"token": "t0"}),
        LOST,
    ],
    ids=["429", "500", "504", "502", "html", "malformed", "lost"],
)
def test_a_login_that_fails_for_now_is_tried_again(
    server: ScriptedServer, tmp_path: Path, trouble: Answer
) -> None:
    server.on(LOGIN, trouble, trouble, token("t1"))
    server.on(TABLES, TABLE_LIST)
    stop = WatchedStop()
    assert client_of(server.url, tmp_path).list_tables("canvas", stop) == ("courses", "users")
    assert len(stop.waits) == 2


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [(fails(500), ServerError), (says({}, 429, Retry_After="7200"), RateLimitedError)],
)
def test_a_login_that_fails_for_long_is_an_error(
    server: ScriptedServer, tmp_path: Path, trouble: Answer, kind: type[DapPipelineError]
) -> None:
    server.always(LOGIN, trouble)
    with pytest.raises(kind):
        client_of(server.url, tmp_path, patience=ONCE).list_tables("canvas", Stop())
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("body", [b"", b"<html>" + SECRET.encode(), b'{"message": "Wrong."}'])
def test_credentials_that_are_refused_end_the_run_and_are_told_to_nobody(
    server: ScriptedServer, tmp_path: Path, status: int, body: bytes
) -> None:
    server.on(LOGIN, Answer(status, body))
    with pytest.raises(LoginRefusedError, match=f"DAP answered {status}") as caught:
        client_of(server.url, tmp_path).list_tables("canvas", Stop())
    error = caught.value
    assert error.ends_run
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    pair = base64.b64encode(f"us-west-2#school:{SECRET}".encode()).decode()
    assert SECRET not in told
    assert pair not in told


def test_credentials_that_were_refused_are_not_tried_again(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.on(LOGIN, fails(403, message="Wrong."))
    client = client_of(server.url, tmp_path)
    for _ in range(3):
        with pytest.raises(LoginRefusedError, match="Wrong"):
            client.list_tables("canvas", Stop())
    assert len(server.seen) == 1


def test_an_address_without_a_login_is_a_wrong_setting(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.on(LOGIN, Answer(404, b"<html>no such page"))
    with pytest.raises(ConfigurationError, match="DAP_API_URL has no login"):
        client_of(server.url, tmp_path).list_tables("canvas", Stop())


def test_passwords_of_the_netrc_file_are_never_used(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login thief password from-netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.on(LOGIN, token("t1"))
    server.on(TABLES, TABLE_LIST)
    server.on("/object", Answer(body=b"bytes"))
    client = client_of(server.url, tmp_path)
    client.list_tables("canvas", Stop())
    with client.http.opened(f"{server.url}/object", {}):
        pass
    thief = base64.b64encode(b"thief:from-netrc").decode()
    assert [thief in seen.headers.get("authorization", "") for seen in server.seen] == [False] * 3
    assert "authorization" not in server.at("/object")[0].headers


def test_credentials_are_taken_from_the_settings_and_are_in_no_picture() -> None:
    settings = load_settings(client_id="us#1", client_secret=SECRET)
    credentials = Credentials.from_settings(settings)
    assert credentials == Credentials("us#1", SECRET)
    assert SECRET not in repr(credentials) + str(credentials)


@pytest.mark.parametrize(
    ("client_id", "secret", "missing"),
    [
        ("", "", "DAP_CLIENT_ID and DAP_CLIENT_SECRET not set"),
        ("us#1", "", "DAP_CLIENT_SECRET not set"),
        ("", SECRET, "DAP_CLIENT_ID not set"),
    ],
)
def test_missing_credentials_are_named(client_id: str, secret: str, missing: str) -> None:
    with pytest.raises(MissingCredentialsError, match=f"^{missing}") as caught:
        Credentials.from_settings(load_settings(client_id=client_id, client_secret=secret))
    assert SECRET not in str(caught.value)
