"""Where the application is answered: an address for those who look, and the control socket on this host.

A boot server boots nodes also where neither can be had: then it says so, once, and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from ectools import log
from ectools.errors import EcError
from ectools.netboot.api.connections import (
    MAX_CONNECTIONS,
    BoundedProtocol,
    ConnectionPlaces,
    RejectingProtocol,
)
from ectools.netboot.http.aiohttp_log import make_aiohttp_log
from ectools.netboot.http.listen import bind_listener, format_address
from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.parsing import ListenAddress

_log = log.Log(__name__)

_SOCKET_MODE = 0o660
_BACKLOG = 64
_ANSWER_SECONDS = 1.0
_CLOSE_SECONDS = 1.0


class AppListener:
    """The listener of one application, opened where it can be.

    ``bind`` gives the socket, or raises EcError or OSError; ``what`` and ``where`` are for the log; ``guard``
    is told of faults of this program.
    """

    def __init__(
        self,
        app: Callable[[], web.Application],
        *,
        bind: Callable[[], socket.socket],
        what: str,
        where: str,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or Guard(what, clock=time.monotonic)
        self._make_app = app
        self._bind = bind
        self._what = what
        self._where = where
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._places = ConnectionPlaces(MAX_CONNECTIONS)
        self._reported_error: str | None = None

    async def keep_open(self) -> None:
        """Open it where it is not; to be called now and then."""
        if self._server is not None:
            return
        try:
            await self._open()
        except (EcError, OSError) as error:
            reason = error.render() if isinstance(error, EcError) else str(error)
            if reason != self._reported_error:
                _log.warning(f"{self._what} cannot be had; nodes boot without it", reason=reason)
            self._reported_error = reason
            return
        except Exception as error:  # it ends no node's boot
            self._guard.report(error)
            return
        self._reported_error = None
        _log.info(f"{self._what} is there", url=self._where)

    async def _open(self) -> None:
        listener = await asyncio.to_thread(self._bind)
        async with contextlib.AsyncExitStack() as cleanup:
            cleanup.callback(listener.close)
            runner = web.AppRunner(self._make_app(), access_log=None, logger=make_aiohttp_log(__name__))
            cleanup.push_async_callback(runner.cleanup)
            await runner.setup()
            listener.setblocking(False)
            self._runner = runner
            self._server = await asyncio.get_running_loop().create_server(self._accept, sock=listener)
            cleanup.pop_all()

    def _accept(self) -> asyncio.Protocol:
        server = None if self._runner is None else self._runner.server
        return RejectingProtocol() if server is None else BoundedProtocol(server(), self._places)

    async def close(self) -> None:
        """Close it, and what is open there: answers have a moment to end."""
        if self._server is None or self._runner is None:
            return
        self._server.close()
        runner, self._server, self._runner = self._runner, None, None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await runner.cleanup()
        self._places.abort_all()


def bind_address(address: ListenAddress) -> socket.socket:
    """The socket of an address. Raises EcError."""
    return bind_listener(str(address.ip), address.port)


def show_address(address: ListenAddress) -> str:
    """``http://127.0.0.1:9090/``."""
    return f"http://{format_address(str(address.ip), address.port)}/"


def bind_control(path: Path) -> socket.socket:
    """The control socket, which its owner and its group may use, from the moment on at which it is there.

    What a server that was killed has left is replaced; one that answers is another server's. Raises EcError.
    """
    if _is_answered(path):
        raise EcError(f"{path}: another boot server answers there", hint="fleet.controlSocket names another")
    # Made beside it and renamed: there is no moment at which somebody else may use it, or nobody can.
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(listener.close)
        try:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".control-") as directory:
                temporary = Path(directory) / "s"
                listener.bind(os.fspath(temporary))
                temporary.chmod(_SOCKET_MODE)
                listener.listen(_BACKLOG)
                temporary.rename(path)
        except OSError as error:
            reason = "its path is too long" if "too long" in str(error) else error.strerror
            raise EcError(f"{path}: no socket can be made there: {reason}") from error
        cleanup.pop_all()
    return listener


def _is_answered(path: Path) -> bool:
    """Whether a server listens at a socket. Raises EcError where something else stands there."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    if not stat.S_ISSOCK(mode):
        raise EcError(f"{path}: is no socket, and is not replaced", hint="take it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True
