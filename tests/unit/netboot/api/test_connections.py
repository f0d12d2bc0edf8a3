"""One client's connection: who reads its answer, slowly or not at all; real sockets, real requests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from aiohttp import web
from support.api_tcp import get, talk, tcp
from support.fleet_api import Api
from support.scenarios import run

from ectools.netboot.api import connections
from ectools.netboot.api.page import render, routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

SIZE = 8 << 20  # more than there is between two sockets


@contextlib.asynccontextmanager
async def serve_much(*, capacity: int = 2) -> AsyncIterator[int]:
    """The port at which ``SIZE`` bytes are answered."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=bytes(SIZE))

    app = web.Application(middlewares=[connections.mark_busy])
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    places = connections.ConnectionPlaces(capacity)
    server = await asyncio.get_running_loop().create_server(
        lambda: connections.BoundedProtocol(runner.server(), places),  # type: ignore[arg-type]
        "127.0.0.1",
        0,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        places.abort_all()
        await runner.cleanup()


async def ask(port: int, path: str = "/") -> socket.socket:
    """A client with a small buffer that has asked, and reads nothing by itself."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, get(path).replace(b"close", b"keep-alive"))
    return client


async def read_all(client: socket.socket, *, pause: float = 0.0) -> int:
    """How many bytes come up to the end of the connection, with a pause now and then."""
    loop, size = asyncio.get_running_loop(), 0
    with contextlib.suppress(ConnectionError):
        while data := await loop.sock_recv(client, 1 << 20):
            size += len(data)
            await asyncio.sleep(pause)
    client.close()
    return size


def test_who_reads_slowly_is_sent_the_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(connections, "PROGRESS_SECONDS", 0.2)

    async def scenario() -> None:
        async with serve_much() as port:
            client, loop, size = await ask(port), asyncio.get_running_loop(), 0
            began = loop.time()
            while loop.time() - began < 1.0:
                size += len(await loop.sock_recv(client, 256 << 10))
                await asyncio.sleep(0.05)
            assert size < SIZE
            assert size + await read_all(client) > SIZE

    run(scenario)


def test_who_reads_nothing_of_an_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PROGRESS_SECONDS", 0.1)

    async def scenario() -> None:
        async with serve_much() as port:
            client = await ask(port)
            await asyncio.sleep(0.5)
            assert await read_all(client) < SIZE

    run(scenario)


def test_who_reads_nothing_of_the_page_keeps_no_place_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PROGRESS_SECONDS", 0.1)
    monkeypatch.setattr(routes, "_MAX_WAITING_EACH", 1)
    parts = ["x" * SIZE, "the end"]
    monkeypatch.setattr(render, "render_fleet", lambda *_: iter(parts))

    async def scenario() -> None:
        async with tcp(Api()) as port:
            client = await ask(port)
            await asyncio.sleep(0.02)
            assert (await talk(port, get("/rows"))).startswith(b"HTTP/1.1 503 ")
            while not (await talk(port, get("/rows"))).startswith(b"HTTP/1.1 200 "):
                pass  # it is let go in a moment
            client.close()

    run(scenario)


def test_who_still_reads_an_answer_makes_no_room_for_its_own_address() -> None:
    async def scenario() -> None:
        async with serve_much() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get("/").replace(b"close", b"keep-alive"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
            await asyncio.sleep(0)
            assert len(await reader.readexactly(SIZE)) == SIZE
            # Once it has been read, the connection is at rest, and goes before the others.
            for _ in range(2):
                others.append(await asyncio.open_connection("127.0.0.1", port))
            assert await reader.read() == b""
            for _, each in others:
                each.close()

    run(scenario)
