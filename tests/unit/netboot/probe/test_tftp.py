"""The probe's TFTP against a server that answers packet by packet as it is told."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ectools.netboot.probe.wire import tftp
from ectools.netboot.probe.wire.packet_socket import UdpEndpoint
from ectools.netboot.probe.wire.tftp import TftpReply, build_read, parse_options, read_tftp_beginning

SERVER, STRANGER = IPv4Address("192.0.2.2"), IPv4Address("192.0.2.3")
ENOUGH = b"\0\x05\0\0ectools-probe: that is enough\0"
Answers = Sequence[tuple[int, bytes]]


class Server:
    """Gives its answers one after the other, whatever is asked; keeps what it was sent."""

    def __init__(self, answers: Answers) -> None:
        self.answers = deque(answers)
        self.heard: list[tuple[int, bytes]] = []
        self.errors: set[int] = set()
        self.now = 0.0

    def send(self, payload: bytes, *, to: IPv4Address, port: int) -> None:
        assert to == SERVER
        self.heard.append((port, payload))

    def wait(self, seconds: float) -> Iterator[tuple[IPv4Address, int, bytes]]:
        while self.answers:
            port, payload = self.answers.popleft()
            yield SERVER, port, payload
        self.now += seconds


def read(*answers: tuple[int, bytes], limit: int = 4096) -> tuple[TftpReply, Server]:
    server = Server(answers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tftp, "time", SimpleNamespace(monotonic=lambda: server.now))
        reply = read_tftp_beginning(cast("UdpEndpoint", server), SERVER, "a.efi", limit=limit, seconds=3)
    return reply, server


def data(number: int, content: bytes) -> bytes:
    return struct.pack("!HH", 3, number) + content


def test_size_and_beginning_then_a_polite_end() -> None:
    accepted = struct.pack("!H", 6) + b"tsize\x005000\x00blksize\x001000\x00"
    blocks = [(5069, data(number, bytes(1000))) for number in range(1, 6)]
    reply, server = read((5069, accepted), *blocks, limit=2500)
    assert (reply.size, len(reply.data), reply.whole) == (5000, 3000, False)
    assert server.heard[0] == (69, build_read("a.efi"))
    assert server.heard[1] == (5069, b"\0\x04\0\0")
    assert server.heard[-1] == (5069, ENOUGH)


def test_a_server_without_options() -> None:
    reply, server = read((5069, data(1, bytes(512))), (5069, data(2, b"end")))
    assert (reply.size, reply.whole, reply.data) == (515, True, bytes(512) + b"end")
    # The end of a file too: the server's log has who took it.
    assert server.heard[-1] == (5069, ENOUGH)


def test_an_error_is_the_servers_own_words() -> None:
    reply, _ = read((5069, b"\0\x05\0\x01file a.efi not found\0"))
    assert reply.error == "error 1: file a.efi not found"
    assert read((5069, b"\0\x05\0\x02"))[0].error == "error 2"


def test_silence_and_a_transfer_that_breaks_off() -> None:
    assert read()[0].silent
    broken, _ = read((5069, data(1, bytes(512))))
    assert (broken.silent, broken.error) == (False, "the transfer broke off")


def test_what_comes_twice_or_from_another_port_is_left_out() -> None:
    first = (5069, data(1, bytes(512)))
    stranger = (5070, data(2, b"x" * 100))
    reply, _ = read(first, first, stranger, (5069, data(2, b"end")))
    assert reply.data == bytes(512) + b"end"


@pytest.mark.parametrize(
    "options", [b"blksize\x000\x00", b"blksize\x00-1\x00", b"tsize\x00\xb2\x00", b"\x00\x00"]
)
def test_options_that_are_none(options: bytes) -> None:
    reply, _ = read((5069, struct.pack("!H", 6) + options), (5069, data(1, b"end")))
    assert reply.data == b"end"


class SlowServer:
    """Answers after so many seconds of a clock that moves only where the client waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: tuple[float, int, bytes]) -> None:
        self.now = 10.0
        self.answers = list(answers)
        self.heard: list[tuple[float, int, bytes]] = []
        self.errors: set[int] = set()
        monkeypatch.setattr(tftp, "time", SimpleNamespace(monotonic=lambda: self.now))

    def send(self, payload: bytes, *, to: IPv4Address, port: int) -> None:
        assert to == SERVER
        self.heard.append((self.now - 10.0, port, payload))

    def wait(self, seconds: float) -> Iterator[tuple[IPv4Address, int, bytes]]:
        assert 0 < seconds <= 1.0
        until = self.now + seconds
        while self.answers and self.now + self.answers[0][0] <= until:
            after, port, payload = self.answers.pop(0)
            self.now += after
            yield (SERVER, port, payload)
        if self.answers:
            after, *rest = self.answers[0]
            self.answers[0] = (after - (until - self.now), *rest)  # type: ignore[assignment]
        self.now = until

    def read(self, *, limit: int = 4096, seconds: float = 3.0) -> TftpReply:
        return read_tftp_beginning(cast("UdpEndpoint", self), SERVER, "a.efi", limit=limit, seconds=seconds)


def test_another_host_that_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer(monkeypatch)
    answers = [(STRANGER, 5069, data(1, b"x")), (IPv4Address("192.0.2.4"), 5069, b"\0\1no answer")]
    monkeypatch.setattr(server, "wait", lambda seconds: _wait(server, answers, seconds))
    server.errors = {111}
    reply = server.read()
    assert reply == TftpReply(silent=True, stranger=STRANGER, errors=frozenset({111}))


def _wait(
    server: SlowServer, answers: list[tuple[IPv4Address, int, bytes]], seconds: float
) -> Iterator[tuple[IPv4Address, int, bytes]]:
    server.now += seconds
    yield from answers


def test_what_is_asked_for() -> None:
    assert build_read("a/\udcff") == b"\0\x01a/\xff\0octet\0tsize\x000\0blksize\x001408\0"


def test_a_question_is_sent_again_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer(monkeypatch)
    assert server.read(seconds=2.5) == TftpReply(silent=True)
    assert server.heard == [(at, 69, build_read("a.efi")) for at in (0.0, 1.0, 2.0, 2.5)]


def test_an_acknowledgement_is_sent_again_to_the_servers_port(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer(monkeypatch, (0.25, 5069, data(1, bytes(512))), (1.5, 5069, data(2, b"end")))
    assert server.read() == TftpReply(size=515, data=bytes(512) + b"end", whole=True)
    assert server.heard == [
        (0.0, 69, build_read("a.efi")),
        (0.25, 5069, b"\0\x04\0\x01"),
        (1.25, 5069, b"\0\x04\0\x01"),
        (1.75, 5069, ENOUGH),
    ]


def test_each_answer_has_its_time_and_the_whole_has_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    drips = [(2.5, 5069, data(number, bytes(512))) for number in range(1, 100)]
    server = SlowServer(monkeypatch, *drips)
    reply = server.read(limit=10**6)
    assert (reply.silent, reply.error, reply.data) == (False, "the transfer broke off", b"")
    assert 60.0 < server.now - 10.0 <= 63.0


def test_the_size_is_told_of_a_transfer_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = struct.pack("!H", 6) + b"TSIZE\x005000\0"
    reply = SlowServer(monkeypatch, (0.5, 5069, accepted)).read()
    assert reply == TftpReply(error="the transfer broke off", size=5000)


def test_answers_of_others_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Neighbour(SlowServer):
        def wait(self, seconds: float) -> Iterator[tuple[IPv4Address, int, bytes]]:
            yield IPv4Address("192.0.2.3"), 5069, data(1, b"forged")
            yield SERVER, 5069, b"\0\3\0"
            yield from super().wait(seconds)

    assert Neighbour(monkeypatch, (0.5, 5070, data(1, b"mine"))).read().data == b"mine"


def test_enough_is_enough_at_the_limit_and_not_before() -> None:
    blocks = [(5069, data(number, bytes(512))) for number in range(1, 5)]
    reply, server = read(*blocks, limit=1024)
    assert (len(reply.data), reply.whole, reply.size) == (1024, False, None)
    assert server.heard[-1][1].startswith(b"\0\x05\0\0")
    assert len(read(*blocks, limit=1025)[0].data) == 1536


def test_a_file_that_ends_at_the_limit_is_whole() -> None:
    reply, server = read((5069, data(1, bytes(512))), (5069, data(2, b"")), limit=1024)
    assert (reply.whole, reply.size) == (True, 512)
    assert server.heard[-1][1] == ENOUGH


def test_block_numbers_go_round() -> None:
    """RFC 1350 has 16 bits; what comes after 65535 is 0, as all clients have it."""
    accepted = struct.pack("!H", 6) + b"blksize\x008\0"
    blocks = [(5069, data(number & 0xFFFF, bytes(8))) for number in range(1, 65538)]
    reply, _ = read((5069, accepted), *blocks, (5069, data(2, b"end")), limit=10**6)
    assert (reply.whole, reply.size) == (True, 65537 * 8 + 3)


def test_options_that_come_late_or_twice() -> None:
    accepted = struct.pack("!H", 6) + b"blksize\x008\0tsize\x009\0"
    other = struct.pack("!H", 6) + b"blksize\x009\0tsize\x0010\0"
    reply, server = read(
        (5069, accepted), (5069, data(1, bytes(8))), (5069, other), (5069, data(2, b"e")), limit=99
    )
    assert (reply.data, reply.whole) == (bytes(8) + b"e", True)
    assert [payload for _, payload in server.heard[1:]] == [b"\0\x04\0\0", b"\0\x04\0\1", ENOUGH]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", {}),
        (b"TSize\x009\0", {"tsize": "9"}),
        (b"a\x001\0b\x002\0", {"a": "1", "b": "2"}),
        (b"a\x001\0b", {"a": "1", "b": ""}),
        (b"a", {}),
        (b"\x001\0b\x002\0", {"b": "2"}),
        (b"\xff\0\xff\0", {"\ufffd": "\ufffd"}),
    ],
)
def test_options(payload: bytes, expected: dict[str, str]) -> None:
    found = parse_options(payload)
    assert {name: value for name, value in found.items() if value} == {
        name: value for name, value in expected.items() if value
    }


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("9" * 19, 10**19 - 1), ("9" * 20, None), ("", None), ("+1", None)]
)
def test_sizes(text: str, size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = struct.pack("!H", 6) + b"tsize\0" + text.encode() + b"\0"
    assert SlowServer(monkeypatch, (0.1, 5069, accepted)).read(seconds=1.0).size == size


def test_errors_of_a_server() -> None:
    assert read((5069, b"\0\x05\x01\x02text\0more"))[0] == TftpReply(error="error 258: text")
    assert read((5069, b"\0\x05\0\0\xff\0"))[0].error == "error 0: \\xff"


packets = st.one_of(
    st.binary(max_size=40),
    st.builds(data, st.integers(0, 3), st.binary(max_size=600)),
    st.binary(max_size=60).map(lambda rest: b"\0\x06" + rest),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((5069, 69)), packets), max_size=6))
def test_any_packets_are_a_reply(answers: list[tuple[int, bytes]]) -> None:
    assert isinstance(read(*answers)[0], TftpReply)
