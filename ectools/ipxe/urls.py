"""URLs that a boot script can hold, and the mark of its failures."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

FAILURE_MARK = "every.channel: NETBOOT FAILED:"
"""What a boot script's error starts with, for whoever reads the console."""

# RFC 3986: unreserved, reserved, and escapes. No blank, quote, backslash or ${: nothing that iPXE expands.
URL = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+", re.ASCII)


def expect_url(url: str, *, instead: str) -> str | None:
    """None where iPXE can fetch ``url``, else what was expected instead.

    ``instead`` is the option that takes what somebody wanted to put before the @.
    """
    form = (
        "an absolute URL of RFC 3986's characters, http, https or tftp: https://boot.example.org/netboot.ipxe"
    )
    if URL.fullmatch(url) is None:
        return form
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return form
    if parts.scheme not in {"http", "https", "tftp"} or not parts.hostname or port == 0:
        return form
    if "@" in parts.netloc:
        return f"a URL without user and password, which everybody could read; {instead} names a secret"
    return None
