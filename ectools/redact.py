"""Redaction: the one place where secrets are taken out of what is printed, logged or reported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "***"
"""What stands in place of a secret."""

# The equals sign may be percent-encoded, and that again. What is redacted already stays as it is.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])((?:token|report\?boot)(?:=|%(?:25)*3d))(?!\*{3}(?:[^\w*]|$))[^&#\s]+", re.IGNORECASE
)
_AFTER_TOKEN = re.compile(r"(token(?:=|%(?:25)*3d)).*", re.IGNORECASE | re.DOTALL)
_USER = re.compile(r"//.*@", re.DOTALL)


def redact_secrets(text: str, secrets: Iterable[str]) -> str:
    """``text`` without each of ``secrets``, wherever it stands."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text


def redact_tokens(text: str) -> str:
    """A URI, or a text with some, without the values of ``token=``, and of ``report?boot=``."""
    return _TOKEN.sub(rf"\1{REDACTED}", text)


def redact_after_token(text: str) -> str:
    """``text`` up to its first ``token=``: for what a stranger sends, whose end of a token nobody knows."""
    return _AFTER_TOKEN.sub(rf"\1{REDACTED}", text)


def redact_user(url: str) -> str:
    """A text that may be no URL, without what stands before its ``@`` (RFC 3986, section 3.2.1)."""
    return _USER.sub(f"//{REDACTED}@", url)


def redact_url(url: str) -> str:
    """A URL's scheme, host and path: without user, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(no URL)"
    return f"{parts.scheme}://{host}{parts.path}"
