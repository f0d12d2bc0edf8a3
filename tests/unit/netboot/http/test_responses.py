"""How replies reach the socket."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from ectools.netboot.http.admission import Admission
from ectools.netboot.http.connection import Connection, Hooks
from ectools.netboot.http.responses import FileReply, Part
from ectools.netboot.http.sendfile import SendfileScheduler
from ectools.netboot.http.webroot import OpenedFile

if TYPE_CHECKING:
    from pathlib import Path

FILLER = b"x" * 1000
CONTENT = b"kernel" * 50_000


def test_a_file_does_not_overtake_what_waits_in_the_process(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(CONTENT)

    async def handle(request: web.BaseRequest) -> FileReply:
        assert request.transport is not None
        connection = request.transport.get_protocol()
        assert isinstance(connection, Connection)
        while not request.transport.get_write_buffer_size():
            request.transport.write(FILLER)  # until the socket is full, and a little waits in the process
        descriptor = os.open(path, os.O_RDONLY)
        reply = FileReply(
            status=200,
            headers={},
            file=OpenedFile(descriptor=descriptor, status=os.fstat(descriptor)),
            part=Part(start=0, size=len(CONTENT)),
            count=len(CONTENT),
        )
        await reply.send(request, connection, stall_seconds=60)
        return reply

    async def scenario() -> bytes:
        loop = asyncio.get_running_loop()
        hooks = Hooks(
            scheduler=SendfileScheduler(),
            admission=Admission(1),
            retry_after_seconds=5,
            lost=lambda _: None,
            refused=lambda *_: None,
        )
        server = web.Server(handle)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            accepted, _ = listener.accept()
        await loop.connect_accepted_socket(lambda: Connection(server, hooks, header_seconds=60), accepted)
        writer.write(b"GET /kernel HTTP/1.1\r\nHost: boot\r\nConnection: close\r\n\r\n")
        received = await reader.read()
        writer.close()
        await server.shutdown(1)
        hooks.scheduler.close()
        return received

    received = asyncio.run(scenario())
    header, _, body = received.lstrip(b"x").partition(b"\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == CONTENT
