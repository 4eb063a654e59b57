from __future__ import annotations

import base64
from datetime import timedelta

import jwt
import pytest
import requests

from dap_pipeline.sandbox.serve import RunningSandbox

from .caller import Caller, login


def test_a_login_gives_the_four_keys_the_official_client_requires(caller: Caller) -> None:
    answer = login(caller.sandbox)
    assert answer.status_code == 200
    assert answer.json().keys() == {"access_token", "expires_in", "scope", "token_type"}
    assert answer.json()["expires_in"] == 3600
    assert answer.json()["token_type"] == "Bearer"


def test_the_token_expires_an_hour_after_the_login(caller: Caller) -> None:
    before = caller.sandbox.service.clock.now().timestamp()
    claims = jwt.decode(
        login(caller.sandbox).json()["access_token"], options={"verify_signature": False}
    )
    assert claims["exp"] == pytest.approx(before + 3600, abs=30)


def test_the_client_id_has_a_region_and_a_uuid(sandbox: RunningSandbox) -> None:
    region, _, identifier = sandbox.client_id.partition("#")
    assert region == "sandbox"
    assert len(identifier) == 36


def test_a_wrong_secret_is_forbidden(caller: Caller) -> None:
    answer = login(caller.sandbox, secret="guess")
    assert answer.status_code == 403
    assert answer.json()["error"].keys() == {"type", "uuid", "message"}


@pytest.mark.parametrize("authorization", [None, "Basic !!!", "Bearer x", "Basic " + "eHg="])
def test_missing_or_broken_credentials_are_forbidden(
    caller: Caller, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    form = {"grant_type": "client_credentials"}
    url = f"{caller.url}/ids/auth/login"
    assert requests.post(url, data=form, headers=headers, timeout=30).status_code == 403


@pytest.mark.parametrize("form", [{"grant_type": "password"}, {"x": "y"}])
def test_another_grant_type_is_malformed(caller: Caller, form: dict[str, str]) -> None:
    answer = login(caller.sandbox, form=form)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_a_login_that_is_no_form_is_malformed(caller: Caller) -> None:
    credentials = (caller.sandbox.client_id, caller.sandbox.client_secret)
    body = {"grant_type": "client_credentials"}
    answer = requests.post(f"{caller.url}/ids/auth/login", json=body, auth=credentials, timeout=30)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer"},
        {"x-instauth": "nonsense"},
    ],
)
def test_a_request_without_a_valid_token_is_unauthorized(
    caller: Caller, headers: dict[str, str]
) -> None:
    answer = caller.get("/dap/query/canvas/table", headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"].keys() == {"type", "uuid", "message"}


def test_the_old_header_carries_the_token_too(caller: Caller) -> None:
    assert caller.get("/dap/query/canvas/table", {"x-instauth": caller.token}).ok


def test_authorization_wins_over_the_old_header(caller: Caller) -> None:
    both = {"Authorization": "Bearer nonsense", "x-instauth": caller.token}
    assert caller.get("/dap/query/canvas/table", both).status_code == 401
    both = {"Authorization": f"Bearer {caller.token}", "x-instauth": "nonsense"}
    assert caller.get("/dap/query/canvas/table", both).ok


def test_a_token_is_refused_after_an_hour(caller: Caller) -> None:
    caller.sandbox.service.clock.advance(_minutes(59))
    assert caller.get("/dap/query/canvas/table").ok
    caller.sandbox.service.clock.advance(_minutes(2))
    answer = caller.get("/dap/query/canvas/table")
    assert answer.status_code == 401
    assert "expired" in answer.json()["error"]["message"]


def test_a_token_signed_with_another_key_is_refused(caller: Caller) -> None:
    claims = jwt.decode(caller.token, options={"verify_signature": False})
    forged = jwt.encode(claims, "k" * 64, algorithm="HS256")
    assert caller.get("/dap/query/canvas/table", _bearer(forged)).status_code == 401


def test_an_unsigned_token_is_refused(caller: Caller) -> None:
    claims = caller.token.split(".")[1]
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    assert caller.get("/dap/query/canvas/table", _bearer(f"{head}.{claims}.")).status_code == 401


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _minutes(count: int) -> timedelta:
    return timedelta(minutes=count)
