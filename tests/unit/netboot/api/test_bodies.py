"""What clients send, and how they go: nothing of it is an error of the server, or in its log."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from support.api_tcp import get, talk, tcp
from support.fleet_api import Api
from support.scenarios import run

from ectools.netboot.api import bodies

_FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
_MAY = b"Authorization: Bearer a-token-of-the-page\r\n"


def post(path: bytes, body: bytes, *, fields: bytes = _FORM, length: int | None = None) -> bytes:
    sized = b"Content-Length: %d\r\n" % (len(body) if length is None else length)
    return (
        b"POST " + path + b" HTTP/1.1\r\nHost: b\r\nConnection: close\r\n" + fields + sized + b"\r\n" + body
    )


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_client_that_hangs_up_is_no_error(caplog: pytest.LogCaptureFixture, is_reset: bool) -> None:
    hold = b"/api/v1/nodes/nuc-07/hold"
    asked = [
        *(
            get(path)
            for path in ("/", "/rows", "/nodes/nuc-07", "/metrics", "/api/v1/nodes", "/api/v1/events")
        ),
        post(b"/sign-in", b"token=", length=50),
        post(hold, b"{", fields=_MAY, length=50),
    ]

    async def scenario() -> None:
        api = Api()
        async with tcp(api) as port:
            for data in asked:
                for wait in (0.0, 0.02):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(data)
                    await writer.drain()
                    await asyncio.sleep(wait)
                    if is_reset:
                        held = writer.get_extra_info("socket")
                        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.close()
                    await asyncio.sleep(0.02)
            assert (await talk(port, get("/metrics"))).startswith(b"HTTP/1.1 200 ")

    run(scenario)
    assert [each.getMessage() for each in caplog.records if each.levelname != "INFO"] == []


def test_what_nobody_understands_is_answered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    gzip = _FORM + b"Content-Encoding: gzip\r\n"
    asked = [
        b"GET / HTTP/1.1\r\nHost b\r\n\r\n",
        b"GET / HTTP/9.9.1\r\nHost: b\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: b\r\nCookie: \x01\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\nHost: b\r\n" + _FORM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        post(b"/sign-in", b"abcde", fields=gzip),
        post(b"/sign-in", b"a=\xff\xfe"),
        post(b"/sign-in", b"a=%ff"),
        post(b"/sign-in", b"&a=1" * 500),
        post(b"/sign-in", b"a=b", fields=_FORM.replace(b"\r", b"; charset=nope\r")),
    ]

    async def scenario() -> None:
        async with tcp(Api()) as port:
            for data in asked:
                answer = await talk(port, data)
                assert answer[9:12] in (b"400", b"403"), (data[:40], answer)

    run(scenario)
    assert [each.getMessage() for each in caplog.records if each.levelname != "INFO"] == []


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_BODY_SECONDS", 0.05)

    async def scenario() -> None:
        async with tcp(Api()) as port:
            answer = await talk(port, post(b"/sign-in", b"token=", length=50))
            assert answer.startswith(b"HTTP/1.1 408 ")

    run(scenario)


def test_a_fault_of_this_program_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        api = Api()

        def fail() -> str:
            raise ConnectionRefusedError("of the server itself, and not of its client")

        object.__setattr__(api.view, "metrics", fail)
        async with tcp(api) as port:
            for _ in range(5):
                answer = await talk(port, get("/metrics"))
                assert answer.startswith(b"HTTP/1.1 500 ")
                assert b"a fault of the server" in answer

    run(scenario)
    assert caplog.messages.count("a fault of this program; it goes on") == 1
