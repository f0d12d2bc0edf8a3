"""The status listener of an API on a TCP port of this machine, and clients that write bytes."""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from support.free_port import choose_port

from ectools.netboot.api.app import build_app
from ectools.netboot.api.listeners import AppListener, bind_address, show_address
from ectools.netboot.api.page.routes import mount_page
from ectools.parsing import ListenAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.fleet_api import Api


@contextlib.asynccontextmanager
async def tcp(api: Api) -> AsyncIterator[int]:
    """The port at which it is answered, the page too."""
    port = choose_port()
    address = ListenAddress(ip=IPv4Address("127.0.0.1"), port=port)
    assert show_address(address) == f"http://127.0.0.1:{port}/"
    listener = AppListener(
        lambda: build_app(api.view, api.token_rights, api.hub, mount=[mount_page]),
        bind=lambda: bind_address(address),
        what="the status listener",
        where=show_address(address),
    )
    await listener.keep_open()
    try:
        yield port
    finally:
        api.hub.close()
        await listener.close()


async def talk(port: int, data: bytes) -> bytes:
    """All that is answered to these bytes, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = await reader.read()
    writer.close()
    return answer


def get(path: str, *more: str) -> bytes:
    """A request of a client that closes after it."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: b", "Connection: close", *more, "", ""]).encode()
