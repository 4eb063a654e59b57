"""Credentials of the sandbox, the login and the access tokens."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt

from . import errors
from .clock import Clock

TOKEN_LIFETIME = timedelta(hours=1)
_FILE_NAME = "credentials.json"
_SCOPE = "dap"


@dataclass(frozen=True)
class Credentials:
    """Client id and secret of a sandbox, and the key that signs its tokens and links."""

    client_id: str
    client_secret: str = field(repr=False)
    signing_key: str = field(repr=False)


def load_credentials(folder: Path) -> Credentials:
    """Read the credentials of a sandbox folder, or make them at random on first use."""
    path = folder / _FILE_NAME
    if path.exists():
        return Credentials(**json.loads(path.read_text()))
    made = Credentials(f"sandbox#{uuid.uuid4()}", secrets.token_urlsafe(32), secrets.token_hex(32))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(made), file)
    return made


@dataclass(frozen=True)
class Tokens:
    """Answers logins and checks access tokens."""

    credentials: Credentials
    clock: Clock

    def login(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Answer `POST /ids/auth/login`; raises ApiError 400 or 403."""
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/x-www-form-urlencoded":
            raise errors.malformed_login("The body must be a form.")
        form = parse_qs(body.decode("utf-8", "replace"))
        if form.get("grant_type") != ["client_credentials"]:
            raise errors.malformed_login("grant_type must be client_credentials.")
        if not self.basic_is_valid(headers.get("authorization", "")):
            raise errors.bad_credentials()
        return {
            "access_token": self._issue(),
            "expires_in": int(TOKEN_LIFETIME.total_seconds()),
            "scope": _SCOPE,
            "token_type": "Bearer",
        }

    def basic_is_valid(self, authorization: str) -> bool:
        """Tell whether an Authorization header carries the client id and secret."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except binascii.Error:
            return False
        known = f"{self.credentials.client_id}:{self.credentials.client_secret}"
        return hmac.compare_digest(given, known.encode())

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise ApiError 401 unless the request carries a valid access token.

        The old header `x-instauth` holds the bare token and counts only without `Authorization`.
        """
        authorization = headers.get("authorization")
        if authorization is None:
            token = headers.get("x-instauth", "")
        else:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise errors.unauthenticated("The request needs a bearer token.")
        if not token:
            raise errors.unauthenticated("The request carries no access token.")
        self._verify(token.strip())

    def _issue(self) -> str:
        now = self.clock.now()
        claims = {
            "iss": "dap-pipeline-sandbox",
            "sub": self.credentials.client_id,
            "scope": _SCOPE,
            "jti": str(uuid.uuid4()),
            "iat": int(now.timestamp()),
            "exp": int((now + TOKEN_LIFETIME).timestamp()),
        }
        return jwt.encode(claims, self.credentials.signing_key, algorithm="HS256")

    def _verify(self, token: str) -> None:
        # Expiry is judged by service time, which may run ahead of the real time PyJWT knows.
        options: Any = {"verify_exp": False, "verify_iat": False, "require": ["exp"]}
        try:
            claims = jwt.decode(
                token, self.credentials.signing_key, algorithms=["HS256"], options=options
            )
        except jwt.InvalidTokenError:
            raise errors.unauthenticated("The access token is not valid.") from None
        if claims["exp"] <= self.clock.now().timestamp():
            raise errors.unauthenticated("The access token has expired.")
