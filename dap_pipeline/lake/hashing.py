"""HMAC-SHA-256 in DuckDB's SQL, by a key that stands in no SQL text.

The key enters the connection as two variables: the two padded forms of RFC 2104. What comes out is
what ``hmac.new(key, text, "sha256").hexdigest()`` gives in Python.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    # The definitions load without it.
    import duckdb

_BLOCK = 64
_INNER, _OUTER = "dap_mask_inner", "dap_mask_outer"


def set_key(connection: duckdb.DuckDBPyConnection, key: SecretStr) -> None:
    """Give the connection the key of ``hashed``."""
    secret = key.get_secret_value().encode()
    if len(secret) > _BLOCK:
        secret = hashlib.sha256(secret).digest()
    padded = secret.ljust(_BLOCK, b"\0")
    for name, byte in ((_INNER, 0x36), (_OUTER, 0x5C)):
        pad = bytes(each ^ byte for each in padded)
        connection.execute(f"SET VARIABLE {name} = $1", [pad])


def hashed(text: str) -> str:
    """Write the SQL of a text's hash, 64 hexadecimal digits; NULL stays NULL."""
    inner = f"unhex(sha256(getvariable('{_INNER}') || encode({text})))"
    return f"sha256(getvariable('{_OUTER}') || {inner})"


def fingerprint(key: SecretStr) -> str:
    """Name a key by a few digits from which it cannot be computed."""
    secret = key.get_secret_value().encode()
    return hmac.new(secret, b"dap-pipeline: the key of masked columns", "sha256").hexdigest()[:8]
