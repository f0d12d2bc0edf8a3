"""The beginning of a file over HTTP, with a range request, so that a server need not send all of it."""

from __future__ import annotations

import http.client
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MAX_REDIRECTS = 5
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


@dataclass(frozen=True, kw_only=True)
class WebReply:
    """``status`` is None where no answer came; ``error`` then says why. ``size`` is None if not told."""

    status: int | None
    error: str | None = None
    size: int | None = None
    data: bytes = b""
    whole: bool = False
    redirected: str | None = None


def read_beginning(
    url: str, *, limit: int, seconds: float, source: IPv4Address | None, headers: Mapping[str, str]
) -> WebReply:
    """GET the first ``limit`` bytes. ``seconds`` is for each step; redirects are followed, as iPXE does."""
    redirected = None
    for _ in range(_MAX_REDIRECTS):
        try:
            reply, location = _ask(url, limit=limit, seconds=seconds, source=source, headers=headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return WebReply(status=None, error=str(error) or type(error).__name__, redirected=redirected)
        if location is None:
            return WebReply(
                status=reply.status,
                size=reply.size,
                data=reply.data,
                whole=reply.whole,
                redirected=redirected,
            )
        url = redirected = urljoin(url, location)
        headers = {}  # a token is for the host that it was meant for
    return WebReply(status=None, error=f"more than {_MAX_REDIRECTS} redirects", redirected=redirected)


def _ask(
    url: str, *, limit: int, seconds: float, source: IPv4Address | None, headers: Mapping[str, str]
) -> tuple[WebReply, str | None]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"no URL: {url[:200]}")
    here = None if source is None else (str(source), 0)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        # iPXE trusts its own authorities, which are not known here: whether the file is there is asked alone.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=seconds, source_address=here, context=context
        )
    else:
        connection = http.client.HTTPConnection(
            parts.hostname, parts.port, timeout=seconds, source_address=here
        )
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    try:
        connection.request(
            "GET",
            target,
            headers={
                "Range": f"bytes=0-{limit - 1}",
                "User-Agent": "ectools-probe",
                "Connection": "close",
                **headers,
            },
        )
        response = connection.getresponse()
        location = response.getheader("Location") if response.status in _REDIRECTS else None
        data = response.read(limit)
        total = _TOTAL.fullmatch(response.getheader("Content-Range") or "")
        length = response.getheader("Content-Length") or ""
        size = int(total[1]) if total else int(length) if length.isascii() and length.isdigit() else None
        whole = len(data) == size if size is not None else len(data) < limit
        return WebReply(status=response.status, size=size, data=data, whole=whole), location
    finally:
        connection.close()
