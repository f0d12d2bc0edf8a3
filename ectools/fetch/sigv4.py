"""Signed requests of S3 (AWS Signature Version 4, "Authenticating Requests: Using the Authorization Header").

Not botocore, which has the same: it is a second HTTP stack and 25 MB for one header of a request that urllib3
makes anyway. Tests hold each signature against botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONTENT_SHA256 = "x-amz-content-sha256"
"""The header with the SHA-256 of what is sent, in hexadecimal, which the store holds it against."""
_UNSIGNED = "UNSIGNED-PAYLOAD"
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, kw_only=True)
class S3Credentials:
    """An access key. ``token`` is there where the key is one for a while (STS)."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class RequestSigner:
    """Signs requests of one key in one region. A URL has its path and its query encoded (RFC 3986)."""

    credentials: S3Credentials
    region: str
    clock: Callable[[], float] = time.time

    def __call__(self, method: str, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers by which a request is signed; of ``headers`` those of Amazon's are signed too."""
        parts = urlsplit(url)
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.clock()))
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        own = {"x-amz-date": now}
        if self.credentials.token is not None:
            own["x-amz-security-token"] = self.credentials.token
        given = {name.lower(): value for name, value in headers.items()}
        own[CONTENT_SHA256] = given.get(CONTENT_SHA256, _UNSIGNED)
        signed = {"host": parts.netloc, **_only_amazon(given), **own}
        names = ";".join(sorted(signed))
        lines = [f"{name}:{signed[name].strip()}" for name in sorted(signed)]
        query = _sort_query(parts.query)
        request = "\n".join([method, parts.path or "/", query, *lines, "", names, own[CONTENT_SHA256]])
        text = "\n".join([_ALGORITHM, now, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = f"AWS4{self.credentials.secret_key}".encode()
        for word in scope.split("/"):
            key = hmac.digest(key, word.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        own["Authorization"] = (
            f"{_ALGORITHM} Credential={self.credentials.access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={signature}"
        )
        return own


def _sort_query(query: str) -> str:
    """Its words in the order of their names, each with a sign of equality (the canonical query string)."""
    pairs = [word.partition("=") for word in query.split("&") if word]
    return "&".join(f"{name}={value}" for name, _, value in sorted(pairs))


def _only_amazon(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-amz-")}
