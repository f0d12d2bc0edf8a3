"""The names by which the status listener may be asked for: the defence against DNS rebinding.

A page of another site may have its own name resolve to this host's address. To the browser what answers there
is of that page's origin (RFC 6454), and the page may read it. What gives it away is the ``Host`` field (RFC
9110, section 7.2), which no script can set: it has the other site's name. So only those names are answered
that no stranger's DNS server can give an address: addresses themselves, ``localhost`` (RFC 6761, section
6.3), names without a dot, this machine's own, and those that ``fleet.allowedHosts`` has.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from ectools import log
from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp.typedefs import Handler, Middleware

_log = log.Log(__name__)

ANY_HOST = "*"
"""In ``fleet.allowedHosts``: whatever name it is."""
_RESOLV_CONF = Path("/etc/resolv.conf")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]+)(?::[0-9]{0,5})?", re.ASCII)
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?", re.ASCII)
_SHOWN_CHARACTERS = 100
_TOLD_SECONDS = 60.0


class WrongHostError(EcError):
    """The host that was asked for is not known to be this one."""


class KnownHosts:
    """The names in force. ``names``: ``boot.example.org``, ``.example.org`` for all names below that one, or
    ``*``; upper and lower case are alike. ``clock`` is monotonic, in seconds.
    """

    def __init__(self, names: Iterable[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: str | None = None
        self._told_at = float("-inf")
        self.set_names(names)

    def set_names(self, names: Iterable[str]) -> None:
        """Other names, from now on."""
        self._names = frozenset(each.lower().rstrip(".") for each in names)

    def knows(self, host: str) -> bool:
        """Whether a request with that ``Host`` field is answered."""
        if ANY_HOST in self._names:
            return True
        found = _HOST.fullmatch(host)
        return found is not None and (_is_address(found[1]) or self._has_name(found[1].lower()))

    def check(self, request: web.BaseRequest) -> None:
        """Raises WrongHostError. A request without the field is answered: every browser sends it."""
        for host in request.headers.getall("Host", ()):
            if not self.knows(host):
                self._tell(ascii(host[:_SHOWN_CHARACTERS])[1:-1], request.remote)
                raise WrongHostError(
                    "this server does not know itself by the name that it was asked for",
                    hint="ask for it by its address, or add the name to fleet.allowedHosts",
                )

    def _has_name(self, name: str) -> bool:
        if _NAME.fullmatch(name) is None:
            return False
        name = name.removesuffix(".")
        labels = name.split(".")
        parents = {"." + ".".join(labels[start:]) for start in range(1, len(labels))}
        return len(labels) == 1 or labels[-1] == "localhost" or bool(self._names & {name, *parents})

    def _tell(self, host: str, peer: str | None) -> None:
        # A monitor asks every few seconds, always by the same name; and somebody by thousands of them.
        if host == self._told or self._clock() - self._told_at < _TOLD_SECONDS:
            return
        self._told, self._told_at = host, self._clock()
        _log.warning(
            "the status listener was asked for by a name that it does not know",
            host=host,
            peer=peer,
            hint="add it to fleet.allowedHosts if it is this server's",
        )


def check_hosts(known: KnownHosts) -> Middleware:
    """A middleware that answers nobody who asks for another host."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        known.check(request)
        return await handler(request)

    return check


def find_own_names(resolv_conf: Path = _RESOLV_CONF) -> list[str]:
    """This machine's name: as it is, as multicast DNS has it (RFC 6762), and in each domain that
    resolv.conf(5) searches. No DNS server is asked, which could say what it likes.
    """
    name = socket.gethostname()
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    domains = [domain for each in words if each[:1] in (["search"], ["domain"]) for domain in each[1:]]
    first = name.partition(".")[0]
    return [name, *(f"{first}.{domain.strip('.')}" for domain in ("local", *domains) if domain.strip("."))]


def _is_address(host: str) -> bool:
    """Whether it is an address; IPv6 has brackets (RFC 3986, section 3.2.2)."""
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return (ipaddress.ip_address(bare).version == 6) == (bare != host)
    except ValueError:
        return False
