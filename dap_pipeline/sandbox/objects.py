"""Objects behind pre-signed links, as S3 serves them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

from starlette.responses import FileResponse, Response

from .clock import Clock, instant_text
from .encode_parquet import ParquetEncoding
from .encode_text import CsvEncoding, JsonLinesEncoding, TsvEncoding

LINK_LIFETIME = timedelta(minutes=15)
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_MEDIA_TYPES = {
    encoding.suffix: encoding.media_type
    for encoding in (TsvEncoding, CsvEncoding, JsonLinesEncoding, ParquetEncoding)
}


@dataclass(eq=False)
class LinkError(Exception):
    """A refusal in the words of S3."""

    status: int
    code: str
    message: str
    details: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """Build the XML answer."""
        members = {"Code": self.code, "Message": self.message, **self.details}
        inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in members.items())
        content = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
        return Response(content, self.status, media_type="application/xml")


@dataclass(frozen=True)
class Links:
    """Signs links to objects and checks them; a link is valid for 15 minutes."""

    signing_key: str = field(repr=False)
    clock: Clock

    def sign(self, base_url: str, object_id: str) -> str:
        """Make the link of an object below the given base address."""
        date = self.clock.now().strftime(_DATE_FORMAT)
        lifetime = str(int(LINK_LIFETIME.total_seconds()))
        query = {
            "X-Amz-Date": date,
            "X-Amz-Expires": lifetime,
            "X-Amz-Signature": self._signature(object_id, date, lifetime),
        }
        return f"{base_url.rstrip('/')}/objects/{quote(object_id)}?{urlencode(query)}"

    def check(self, object_id: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Raise LinkError 400 or 403 unless the link is whole, young enough and stands alone."""
        if "authorization" in headers:
            message = "Only one auth mechanism allowed"
            raise LinkError(400, "InvalidArgument", message)
        date, lifetime = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        given = query.get("X-Amz-Signature", "")
        if not given:
            raise LinkError(403, "AccessDenied", "Access Denied")
        known = self._signature(object_id, date, lifetime)
        if not hmac.compare_digest(given.encode(), known.encode()):
            message = "The request signature we calculated does not match the signature you sent."
            raise LinkError(403, "SignatureDoesNotMatch", message)
        signed_at = datetime.strptime(date, _DATE_FORMAT).replace(tzinfo=UTC)
        expires, now = signed_at + timedelta(seconds=int(lifetime)), self.clock.now()
        if now >= expires:
            times = {"Expires": instant_text(expires), "ServerTime": instant_text(now)}
            details = {"X-Amz-Expires": lifetime, **times}
            raise LinkError(403, "AccessDenied", "Request has expired", details)

    def _signature(self, *signed: str) -> str:
        message = "\n".join(signed).encode()
        return hmac.new(self.signing_key.encode(), message, hashlib.sha256).hexdigest()


def object_response(path: Path | None) -> Response:
    """Serve a file with its length, an ETag and byte ranges, never with a content encoding."""
    if path is None:
        raise LinkError(404, "NoSuchKey", "The specified key does not exist.")
    media_type = next(kind for end, kind in _MEDIA_TYPES.items() if path.name.endswith(end))
    return FileResponse(path, media_type=media_type)
