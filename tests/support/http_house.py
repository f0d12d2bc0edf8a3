"""An HTTP server on a clock that stands still, with clients that a test has in its hands."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from support.still_loop import advance, run_still, turns

from ectools.netboot.http.listen import bind_listener
from ectools.netboot.http.server import HttpServer
from ectools.netboot.http.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from ectools.netboot.http.admission import Standing

BIG = 64 << 20
"""Bytes of ``initrd``."""


def make_root(directory: Path) -> Path:
    """A small file and a large one."""
    (directory / "netboot.ipxe").write_bytes(b"#!ipxe\n")
    with (directory / "initrd").open("wb") as file:
        file.truncate(BIG)
    return directory


class Listener(socket.socket):
    """A listening socket whose accept(2) fails as often as a test wants."""

    errors: list[OSError]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise self.errors.pop(0)
        return super().accept()


class House:
    """A server and its clients."""

    def __init__(
        self, root: Path, *, classify: Callable[[str], Standing] | None = None, **options: Any
    ) -> None:
        self.listener = Listener(fileno=bind_listener("127.0.0.1", 0).detach())
        self.listener.errors = []
        more = {} if classify is None else {"classify": classify}
        self.server = HttpServer(HttpSettings(root=root, **options), listener=self.listener, **more)
        self.address = self.listener.getsockname()
        self.clients: list[socket.socket] = []

    def connect(self, count: int = 1) -> list[socket.socket]:
        """Connections that wait to be accepted."""
        made = []
        for _ in range(count):
            client = socket.create_connection(self.address)
            client.setblocking(False)
            made.append(client)
        self.clients += made
        return made

    async def ask(self, path: str, *, more: str = "", client: socket.socket | None = None) -> socket.socket:
        """A client that has asked for something."""
        client = client or self.connect()[0]
        client.send(f"GET {path} HTTP/1.1\r\nHost: b\r\n{more}\r\n".encode())
        await turns()
        return client

    async def get(self, path: str, *, more: str = "") -> bytes:
        """The first of an answer."""
        return await receive(await self.ask(path, more=more))


async def receive(client: socket.socket) -> bytes:
    """What comes next; empty at the end. It takes no time by the loop's clock."""
    return await asyncio.get_running_loop().sock_recv(client, 1 << 16)


def run(
    root: Path, scenario: Callable[[House], Coroutine[Any, Any, None]], *, start: bool = True, **options: Any
) -> None:
    async def inside() -> None:
        house = House(root, **options)
        if start:
            assert house.server.start() == house.address
        try:
            await scenario(house)
        finally:
            for client in house.clients:
                client.close()
            if house.listener.fileno() >= 0:
                await pass_time(house.server.drain())
            await pass_time(house.server.close())

    run_still(inside())


async def pass_time(work: Coroutine[Any, Any, object]) -> None:
    """Let the seconds go by until it is done."""
    task = asyncio.create_task(work)
    while not task.done():
        await advance(1)
    await task


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop, and threads, come to it."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it has not come to it")
