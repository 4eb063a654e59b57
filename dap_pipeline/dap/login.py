"""Credentials and the access token that they buy."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import jwt
import requests
from requests.auth import HTTPBasicAuth

from dap_pipeline.dap.answers import read_json
from dap_pipeline.dap.http import Http
from dap_pipeline.dap.models import Token, parse_answer
from dap_pipeline.errors import (
    ConfigurationError,
    ForbiddenError,
    InvalidQueryError,
    LoginRefusedError,
    MissingCredentialsError,
    NotFoundError,
    TokenRefusedError,
)
from dap_pipeline.settings import Settings

# The official client renews five minutes before the end as well.
RENEW_BEFORE_SECONDS = 300.0
# Documented lifetime, for a token that does not tell its own.
USUAL_LIFETIME_SECONDS = 3600.0


@dataclass(frozen=True)
class Credentials:
    """A client id and its secret."""

    client_id: str
    client_secret: str = field(repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Credentials:
        """Take them from the settings.

        Raises:
            MissingCredentialsError: one of the two is not set.
        """
        secret = settings.client_secret.get_secret_value()
        missing = [
            name
            for name, value in (
                ("DAP_CLIENT_ID", settings.client_id),
                ("DAP_CLIENT_SECRET", secret),
            )
            if not value
        ]
        if missing:
            raise MissingCredentialsError(f"{' and '.join(missing)} not set")
        return cls(settings.client_id, secret)


class Login:
    """Holds the token and renews it; safe to share between threads.

    Credentials that were refused are not tried again: many threads that all try them look like an
    attack, and the answer would be the same.
    """

    def __init__(self, http: Http, credentials: Credentials) -> None:
        self._http = http
        self._credentials = credentials
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0
        self._refusal: LoginRefusedError | None = None

    def token(self) -> str:
        """Give a token that is good for some minutes more, logging in when there is none.

        Raises:
            LoginRefusedError: DAP does not accept the credentials.
            ConfigurationError: the address has no login.
        """
        with self._lock:
            if self._refusal is not None:
                raise LoginRefusedError(self._refusal.what, place=self._refusal.place)
            if time.monotonic() >= self._renew_at:
                try:
                    self._log_in()
                except LoginRefusedError as error:
                    self._refusal = error
                    raise
            return self._token

    def forget(self, token: str) -> None:
        """Drop a token that DAP has refused, unless another thread has renewed it already."""
        with self._lock:
            if token == self._token:
                self._renew_at = 0.0

    def _log_in(self) -> None:
        credentials = self._credentials
        asked_at = time.monotonic()
        response = self._http.send(
            "POST",
            "/ids/auth/login",
            auth=HTTPBasicAuth(credentials.client_id.encode(), credentials.client_secret.encode()),
            form={"grant_type": "client_credentials"},
        )
        token = parse_answer(Token, _accepted(response))
        self._token = token.access_token
        lifetime = _lifetime(token)
        self._renew_at = asked_at + lifetime - min(RENEW_BEFORE_SECONDS, lifetime / 2)


def _accepted(response: requests.Response) -> object:
    try:
        return read_json(response)
    except (TokenRefusedError, ForbiddenError, InvalidQueryError) as error:
        raise LoginRefusedError(
            f"DAP refused the login ({error.what})", place=error.place
        ) from None
    except NotFoundError as error:
        raise ConfigurationError(
            f"DAP_API_URL has no login ({error.what})",
            advice="Check that DAP_API_URL names the DAP gateway.",
        ) from None


def _lifetime(token: Token) -> float:
    """Seconds from issue to expiry: from the token's own claims, so that no clock is compared."""
    if token.expires_in is not None and token.expires_in > 0:
        return token.expires_in
    try:
        claims = jwt.decode(token.access_token, options={"verify_signature": False})
        lifetime = float(claims["exp"]) - float(claims["iat"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError):
        return USUAL_LIFETIME_SECONDS
    return lifetime if lifetime > 0 else USUAL_LIFETIME_SECONDS
