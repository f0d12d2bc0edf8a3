"""Why a server has refused something, as its answer says: a code of S3's, or a message of a forge's."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError

from ectools.errors import cut
from ectools.fetch.retry import parse_retry_after
from ectools.redact import redact_tokens, redact_urls

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

_MAX_BODY = 4096
_SECONDS = 5.0
_MAX_TEXT = 120
# Amazon S3, "Error responses": the rest of it (Token-0, StringToSign, AWSAccessKeyId) is nobody's to see.
_CODE = re.compile(rb"<Code>([A-Za-z0-9._-]{1,64})</Code>")
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")
# What is as long as a token may be one, which an answer repeats.
_LONG_WORD = re.compile(r"[^\s\"'(),:;]{25,}")
_HINTS = {
    "RequestTimeTooSkewed": "is this machine's clock right?",
    "SignatureDoesNotMatch": "is the secret key the one of this access key?",
    "InvalidAccessKeyId": "is the access key one of this store?",
    "ExpiredToken": "the access key is one for a while (AWS_SESSION_TOKEN), which is over: fetch a new one",
    "AuthorizationHeaderMalformed": "is the region the bucket's? s3://BUCKET?region=NAME",
    "PermanentRedirect": "is the region the bucket's? s3://BUCKET?region=NAME",
    "QuotaExceeded": "the store holds as much as it may: remove old releases, or have it hold more",
}

# Codes of a refusal that is over once somebody else's request is, whatever its status. Amazon S3: a body that
# did not come in time. A registry (OCI Distribution Specification, "Error Codes"): it knows no blob, or finds
# half a link to it, where another one is storing the same at this moment.
_PASSING = frozenset({"RequestTimeout", "DIGEST_INVALID", "BLOB_UPLOAD_INVALID", "MANIFEST_BLOB_UNKNOWN"})


def find_reason(response: BaseHTTPResponse, *, secret: str = "") -> str | None:
    """A few printable words of why it was refused; None where it does not say. ``secret`` is never in it.

    At most 4 KiB are read, and no further once 5 seconds, or one read's time, are over.
    """
    region = response.headers.get("x-amz-bucket-region", "")
    at = f"the bucket is in the region {region}" if _REGION.fullmatch(region) else ""
    body = _read(response)
    code = _CODE.search(body)
    text = code[1].decode() if code is not None else find_message(body)
    if any(word in text for word in secret.split() if len(word) >= 6):
        text = ""
    return ", ".join(each for each in (text, at) if each) or None


def find_reason_hint(reason: str | None) -> str | None:
    """What to do about it, where its code is known."""
    return _HINTS.get((reason or "").partition(",")[0])


def is_passing(reason: str | None) -> bool:
    """Whether the same request, refused for this reason, may be taken a moment later."""
    return (reason or "").partition(",")[0] in _PASSING


def find_limit_end(response: BaseHTTPResponse) -> tuple[str, float] | None:
    """What is said of a used up rate limit, and in how many seconds it is over; None where it is none.

    GitHub REST API, "Rate limits": 403 or 429, without Retry-After for the primary one.
    """
    if response.status not in (403, 429) or response.headers.get("x-ratelimit-remaining") != "0":
        return None
    asked = parse_retry_after(response.headers.get("Retry-After"))
    reset = response.headers.get("x-ratelimit-reset", "")
    known = int(reset) if reset.isascii() and reset.isdigit() and len(reset) <= 11 else None
    if asked is None:
        asked = 60.0 if known is None else max(0.0, known - time.time()) + 1
    end = time.strftime("%H:%M:%S UTC", time.gmtime(time.time() + min(asked, 1e8)))
    return f"the limit of requests is used up until {end}; a token has a larger one", asked


def _read(response: BaseHTTPResponse) -> bytes:
    data, began = b"", time.monotonic()
    try:
        while len(data) < _MAX_BODY and time.monotonic() - began < _SECONDS:
            if not (part := response.read1(_MAX_BODY - len(data), decode_content=False)):
                break
            data += part
    except (HTTPError, OSError, ValueError):
        pass  # the status is known, and what is said of it may be missing
    return data


def find_message(body: bytes) -> str:
    """A code of a registry's (``errors``), or a forge's ``message``; empty where there is neither."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(raw, dict):
        return ""
    errors = raw.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    code = first.get("code") if isinstance(first, dict) else None
    message = raw.get("message")
    if isinstance(code, str) and _WORD.fullmatch(code) and not isinstance(message, str):
        return code
    if not isinstance(message, str):
        return ""
    words = "".join(each if each.isprintable() else " " for each in message[:_MAX_BODY]).split()
    return cut(_LONG_WORD.sub("…", redact_tokens(redact_urls(" ".join(words)))))[:_MAX_TEXT]
