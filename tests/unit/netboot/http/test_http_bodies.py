"""Requests with a body: who may send one, how much, and in which time."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.http.listen import bind_listener
from ectools.netboot.http.server import HttpServer
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.http.webroot import RejectedError

if TYPE_CHECKING:
    from pathlib import Path


class Letters:
    """Takes bodies at ``/letters``, from whoever brings a stamp."""

    max_bytes = 64 << 10

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def bound(self, info: RequestInfo) -> int:
        return 1 << 10 if "small" in info.query else self.max_bytes

    def is_for(self, info: RequestInfo) -> bool:
        return info.segments == (b"letters",)

    def admit(self, info: RequestInfo) -> None:
        if "stamp" not in info.query:
            raise RejectedError(403, "no stamp")

    async def receive(self, _: RequestInfo, body: bytes) -> bytes:
        if body == b"too much":
            raise RejectedError(429, "later")
        self.bodies.append(body)
        return b"ok\n"


async def talk(port: int, *parts: bytes, pause: Any = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        if pause is not None:
            await pause(reader)
    answer = await reader.read()
    writer.close()
    return answer


def run(directory: Path, scenario: Any, **settings: Any) -> Letters:
    letters = Letters()

    async def running() -> None:
        server = HttpServer(
            HttpSettings(root=directory, drain_seconds=5.0, **settings),
            listener=bind_listener("127.0.0.1", 0),
            receiver=letters,
        )
        _, port = server.start()
        await scenario(port)
        await server.drain()
        assert server.faults() == 0
        await server.close()

    asyncio.run(running())
    return letters


def post(path: str, *fields: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: b", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_body_is_taken_whole(tmp_path: Path, version: str) -> None:
    async def scenario(port: int) -> None:
        head = post("/letters?stamp=1", "Content-Length: 5", version=version)
        answer = await talk(port, head + b"he", b"llo")
        assert answer.startswith(f"HTTP/{version} 200 ".encode())
        assert b"Cache-Control: no-store" in answer
        assert answer.endswith(b"\r\n\r\nok\n")

    assert run(tmp_path, scenario).bodies == [b"hello"]


def test_the_largest_comes_through_and_its_end_is_not_cut_off(tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        body = b"x" * (64 << 10)
        answer = await talk(port, post("/letters?stamp=1", f"Content-Length: {len(body)}"), body)
        assert answer.startswith(b"HTTP/1.1 200 ")
        empty = await talk(port, post("/letters?stamp=1", "Content-Length: 0"))
        assert empty.startswith(b"HTTP/1.1 200 ")

    assert [len(body) for body in run(tmp_path, scenario).bodies] == [64 << 10, 0]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (post("/letters", "Content-Length: 3"), 403),
        (post("/letters?stamp=1"), 411),
        (post("/letters?stamp=1", "Transfer-Encoding: chunked"), 411),
        (post("/letters?stamp=1", "Content-Length: 65537"), 413),
        (post("/letters?stamp=1&small", "Content-Length: 1025"), 413),
        (post("/letters?stamp=1", f"Content-Length: {1 << 30}"), 413),
        (post("/other?stamp=1", "Content-Length: 3"), 405),
        (post("/healthz?stamp=1", "Content-Length: 3"), 405),
        (post("/letters?stamp=1", "Content-Length: many"), 400),
        (post("/letters?stamp=1", "Content-Length: 3").replace(b"POST", b"PUT"), 405),
    ],
)
def test_who_may_not_is_told_before_the_body_comes(tmp_path: Path, head: bytes, status: int) -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert re.match(rb"HTTP/1\.[01] %d " % status, answer), answer

    assert run(tmp_path, scenario).bodies == []


def test_of_a_gigabyte_nothing_is_kept(tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post("/letters?stamp=1", f"Content-Length: {1 << 30}"))
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 413 " in answer
        assert b"Connection: close" in answer
        with contextlib.suppress(ConnectionError):  # it is not for ever that anybody listens
            while not writer.is_closing():
                writer.write(bytes(1 << 16))
                await writer.drain()
        writer.close()

    assert run(tmp_path, scenario).bodies == []


def test_the_next_request_may_follow_on_the_same_connection(tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        head = post("/letters?stamp=1", "Content-Length: 2").replace(b"Connection: close\r\n", b"")
        answer = await talk(port, head + b"hi" + head + b"ho" + post("/healthz"))
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert answer.count(b"HTTP/1.1 405 ") == 1

    assert run(tmp_path, scenario).bodies == [b"hi", b"ho"]


def test_who_is_to_come_later_is_told_when(tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        answer = await talk(port, post("/letters?stamp=1", "Content-Length: 8") + b"too much")
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nRetry-After: " in answer

    run(tmp_path, scenario)


def test_who_waits_to_be_asked_is_asked(tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post("/letters?stamp=1", "Content-Length: 2", "Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()

    assert run(tmp_path, scenario).bodies == [b"hi"]


def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        answer = await talk(port, post("/letters?stamp=1", "Content-Length: 5") + b"he")
        assert answer.startswith(b"HTTP/1.1 408 ")

    assert run(tmp_path, scenario, header_seconds=0.2).bodies == []


def test_a_body_whose_sender_goes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    admitted = asyncio.Event()
    monkeypatch.setattr(Letters, "admit", lambda *_: admitted.set())

    async def scenario(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post("/letters?stamp=1", "Content-Length: 5") + b"he")
        await admitted.wait()
        # The connection is reset, and not just ended: there may be an end before the answer (RFC 9112, 9.6).
        client = writer.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    assert run(tmp_path, scenario).bodies == []


def test_without_a_receiver_nothing_is_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = HttpServer(HttpSettings(root=tmp_path), listener=bind_listener("127.0.0.1", 0))
        _, port = server.start()
        answer = await talk(port, post("/letters?stamp=1", "Content-Length: 2") + b"hi")
        assert answer.startswith(b"HTTP/1.1 405 ")
        assert b"Allow: GET, HEAD" in answer
        await server.drain()
        await server.close()

    asyncio.run(scenario())
