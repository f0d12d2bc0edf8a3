"""The server's question to itself, asked of servers that answer, answer otherwise, or do not."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ectools.netboot.http.admission import Admission, Standing
from ectools.netboot.http.listen import bind_listener
from ectools.netboot.http.self_check import ask_health


class Peer:
    """Answers each connection with the same bytes, and notes what it saw of the first."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.admission = Admission(1, classify=lambda _: Standing.STRANGER)
        self.request = b""
        self.was_expected: list[bool] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        slot = self.admission.find_slot(*writer.get_extra_info("peername")[:2])
        self.was_expected.append(slot is not None and slot.standing is Standing.PROXY)
        self.request = await reader.readuntil(b"\r\n\r\n")
        if self.answer is not None:
            writer.write(self.answer)
            writer.close()

    def ask(self, ip: str = "127.0.0.1", *, seconds: float = 60) -> str | None:
        async def run() -> str | None:
            listener = bind_listener(ip, 0)
            server = await asyncio.start_server(self.serve, sock=listener)
            try:
                return await ask_health(server.sockets[0], self.admission, seconds=seconds)  # type: ignore[arg-type]
            finally:
                server.close()

        return asyncio.run(run())


@pytest.mark.parametrize("ip", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_server_is_asked_on_the_address_that_it_listens_on(ip: str) -> None:
    if ":" in ip and not has_ipv6():
        pytest.skip("no IPv6 here")
    peer = Peer(b"HTTP/1.1 200 OK\r\n\r\n{}")
    assert peer.ask(ip) is None
    assert peer.request == b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert peer.was_expected == [True]
    # It is expected no longer than that.
    assert peer.admission._own == set()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", None),
        (
            b"HTTP/1.1 500 Internal Server Error\r\n",
            "the answer was b'HTTP/1.1 500 Internal Server Error\\r\\n'",
        ),
        (b"HTTP/1.1 404 " + b"x" * 100, f"the answer was {b'HTTP/1.1 404 ' + b'x' * 27!r}"),
        (b"200", "the answer was b'200'"),
        (b"", "the answer was b''"),
    ],
)
def test_answers(answer: bytes, expected: str | None) -> None:
    assert Peer(answer).ask() == expected


def test_no_answer_within_the_time() -> None:
    peer = Peer(None)
    assert peer.ask(seconds=0.05) == "no answer on /healthz within 0.05 s"
    assert peer.admission._own == set()


def test_a_connection_that_cannot_be_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: 101)
    assert Peer(b"").ask() == "no answer on /healthz: Network is unreachable"
