"""The server: settings and a listening socket → answers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from aiohttp import web

from ectools import log
from ectools.netboot.http.settings import HEALTH_PATH, HttpSettings

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_log = log.Log(__name__)


async def serve(
    settings: HttpSettings, *, listener: socket.socket, on_ready: Callable[[str, int], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; ``on_ready`` is called once with the bound address and port."""
    app = web.Application()

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app.router.add_get(HEALTH_PATH, health)
    app.router.add_static("/", settings.root, follow_symlinks=True)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.drain_seconds)
    await runner.setup()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with contextlib.closing(listener):
        await web.SockSite(runner, listener).start()
        ip, port = listener.getsockname()[:2]
        _log.info("boot HTTP server is ready", ip=ip, port=port, root=str(settings.root))
        if on_ready is not None:
            on_ready(ip, port)
        await stop.wait()
        await runner.cleanup()
