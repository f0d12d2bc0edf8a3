"""A listener of its own for whoever watches the boot server: ``/healthz`` and ``/metrics``.

Off the clients' network, and with slots of its own: a crowd at the boot server takes none of them. A boot
server boots nodes also where this address cannot be had: then it says so, and tries again.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.errors import EcError
from ectools.netboot.http.handler import Resource
from ectools.netboot.http.listen import bind_listener, format_address
from ectools.netboot.http.server import HttpServer
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.http.webroot import RejectedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from ectools.netboot.http.handler import RequestInfo
    from ectools.parsing import ListenAddress

_log = log.Log(__name__)

_CONNECTIONS = 32


class StatusSite:
    """The router of the listener. ``metrics`` renders the figures, ``health`` gives the report's fields."""

    def __init__(
        self, *, metrics: Callable[[], str], health: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> None:
        self._metrics = metrics
        self._health = health

    async def find(self, info: RequestInfo) -> Resource:
        if info.segments != (b"metrics",):
            raise RejectedError(404, "not found; there are /metrics and /healthz")
        return Resource(target=self._metrics().encode(), content_type="text/plain; version=0.0.4")

    async def report(self) -> Mapping[str, Any]:
        return await self._health()


class StatusListener:
    """The listener while the boot server runs. ``root`` is what the health report looks at."""

    def __init__(self, address: ListenAddress | None, *, root: Path, site: StatusSite) -> None:
        self._address = address
        self._root = root
        self._site = site
        self._server: HttpServer | None = None
        self._reported_error: str | None = None

    def keep_open(self) -> None:
        """Open it where it is to be and is not; to be called now and then."""
        if self._address is None or self._server is not None:
            return
        ip, port = str(self._address.ip), self._address.port
        settings = HttpSettings(root=self._root, max_connections=_CONNECTIONS, drain_seconds=1.0)
        try:
            with contextlib.ExitStack() as cleanup:
                listener = cleanup.enter_context(bind_listener(ip, port))
                self._server = HttpServer(settings, listener=listener, router=self._site)
                cleanup.pop_all()
        except (EcError, OSError) as error:  # OSError: out of descriptors or memory
            reason = error.render() if isinstance(error, EcError) else str(error)
            if reason != self._reported_error:
                _log.warning("the status listener cannot be had; nodes boot without it", reason=reason)
            self._reported_error = reason
            return
        self._server.start()
        _log.info("health and metrics are there", url=f"http://{format_address(ip, port)}/")

    async def close(self) -> None:
        """Close the listener and its connections."""
        if self._server is not None:
            await self._server.drain()
            await self._server.close()
            self._server = None
