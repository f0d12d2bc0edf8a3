"""Redaction: the one place where secrets are taken out of what is printed, logged or reported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
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
# What strangers write comes by here: a text is gone over once, however it is made. In one of many words a URL
# ends with a blank; where it is the whole of a value, it may have some.
_WORD = re.compile(r"[^\s\"']+")
# What a path's normal form has made of two slashes is one.
_AUTHORITY = re.compile(r"//|(?<=[a-z]:)/", re.IGNORECASE)
_SIGNS = re.compile("[/:]")
_SCHEME_FOLLOWS = re.compile(r"[a-z+]*:?//", re.IGNORECASE)
_IS_URL = re.compile(r"[a-z][a-z0-9+.-]*:(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_SECRET_FIELD = re.compile(
    r"([?&;](?=[^\s=&?;#\"']*(?:key|secret|passw|token|signature|credential))[^\s=&?;#\"']*=)"
    r"(?!\*{3}(?:[^\w*]|$))[^\s&#\"']+",
    re.IGNORECASE,
)


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
    text, digest = _split_digest(url)
    start, end = text.find("//"), text.rfind("@")
    if not 0 <= start < end - 1 or text.startswith("/", start + 2):
        return url
    return f"{text[: start + 2]}{REDACTED}{text[end:]}{digest}"


def redact_url(url: str) -> str:
    """A URL's scheme, host and path: without user, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(no URL)"
    return f"{parts.scheme}://{host}{parts.path}"


def redact_urls(text: str) -> str:
    """A message, in which URLs may stand, without their users, their passwords, and keys in their queries."""
    return _SECRET_FIELD.sub(rf"\1{REDACTED}", _WORD.sub(_redact_authority, text) if "@" in text else text)


def redact_value(value: Any) -> Any:
    """A value of a document, as a message may show it: each text in it without what ``redact_urls`` leaves
    out, and without ``user:password@``, with or without a scheme.
    """
    if isinstance(value, str):
        text = redact_user(value) if _IS_URL.match(value) else value
        return _WORD.sub(_redact_bare_user, redact_urls(text))
    if isinstance(value, dict):
        return {redact_value(name): redact_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(inner) for inner in value]
    return value


def _redact_authority(found: re.Match[str]) -> str:
    word, digest = _split_digest(found[0])
    end = word.rfind("@")
    start = _AUTHORITY.search(word, 0, max(end, 0))
    # `file:///` has a path alone.
    if start is None or word.startswith("/", start.end()):
        return found[0]
    return f"{word[: start.end()]}{REDACTED}{word[end:]}{digest}"


def _redact_bare_user(found: re.Match[str]) -> str:
    """``user:password@`` of a word, each time that it stands there."""
    word, digest = _split_digest(found[0])
    *parts, rest = word.split("@")
    return "@".join([*map(_redact_bare_part, parts), rest]) + digest


def _split_digest(word: str) -> tuple[str, str]:
    """What comes before a registry's ``@sha256:…``, and that."""
    start, _, end = word.rpartition("@")
    return (start, f"@{end}") if end.startswith("sha256:") else (word, "")


def _redact_bare_part(part: str) -> str:
    start = 0
    for sign in _SIGNS.finditer(part):
        is_user = sign[0] == ":" and start < sign.start() and sign.end() < len(part)
        if is_user and _SCHEME_FOLLOWS.match(part, sign.end()) is None:
            return f"{part[:start]}{REDACTED}"
        start = sign.end()
    return part
