"""A server's question to itself over HTTP: whether it still accepts and answers."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

from ectools.netboot.http.settings import HEALTH_PATH

if TYPE_CHECKING:
    from ectools.netboot.http.admission import Admission

_REQUEST = f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


async def ask_health(listener: socket.socket, admission: Admission, *, seconds: float) -> str | None:
    """One request through the socket that clients connect to: None, or what is wrong with the answer.

    ``admission`` gives it a place whatever the crowd. An answer that says that the root is gone is an answer:
    no restart brings that back.
    """
    try:
        async with asyncio.timeout(seconds):
            answer = await _ask(listener, admission)
    except TimeoutError:
        return f"no answer on {HEALTH_PATH} within {seconds:g} s"
    except OSError as error:
        return f"no answer on {HEALTH_PATH}: {error.strerror or error}"
    return None if answer.split(b" ")[1:2] in ([b"200"], [b"503"]) else f"the answer was {answer[:40]!r}"


async def _ask(listener: socket.socket, admission: Admission) -> bytes:
    loop = asyncio.get_running_loop()
    ip, port = listener.getsockname()[:2]
    # A socket that listens on all addresses is reached on any of them.
    ip = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)  # noqa: S104 - read, not bound
    with socket.socket(listener.family, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        # Not bound first: a unit may allow this process no port but the server's own (SocketBindDeny). The
        # port is known as soon as the connection is begun, and accepted only in a later turn of this loop.
        begun = client.connect_ex((ip, port))
        if begun not in (0, errno.EINPROGRESS):
            raise OSError(begun, os.strerror(begun))
        own = client.getsockname()[:2]
        admission.expect_own(own)
        try:
            await loop.sock_sendall(client, _REQUEST)
            return await loop.sock_recv(client, 256)
        finally:
            admission.forget_own(own)
