"""The probe's TFTP against a server that answers packet by packet as it is told."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ectools.netboot.probe.wire.packet_socket import UdpEndpoint
from ectools.netboot.probe.wire.tftp import TftpReply, build_read, read_tftp_beginning

SERVER = IPv4Address("192.0.2.2")
Answers = Sequence[tuple[int, bytes]]


class Server:
    """Gives its answers one after the other, whatever is asked; keeps what it was sent."""

    def __init__(self, answers: Answers) -> None:
        self.answers = list(answers)
        self.heard: list[tuple[int, bytes]] = []

    def send(self, payload: bytes, *, to: IPv4Address, port: int) -> None:
        assert to == SERVER
        self.heard.append((port, payload))

    def wait(self, _seconds: float) -> Iterator[tuple[IPv4Address, int, bytes]]:
        while self.answers:
            port, payload = self.answers.pop(0)
            yield SERVER, port, payload


def read(*answers: tuple[int, bytes], limit: int = 4096) -> tuple[TftpReply, Server]:
    server = Server(answers)
    reply = read_tftp_beginning(cast("UdpEndpoint", server), SERVER, "a.efi", limit=limit, seconds=0.005)
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
    assert server.heard[-1] == (5069, b"\0\x05\0\0that is enough\0")


def test_a_server_without_options() -> None:
    reply, server = read((5069, data(1, bytes(512))), (5069, data(2, b"end")))
    assert (reply.size, reply.whole, reply.data) == (515, True, bytes(512) + b"end")
    assert server.heard[-1] == (5069, b"\0\x04\0\x02")


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


packets = st.one_of(
    st.binary(max_size=40),
    st.builds(data, st.integers(0, 3), st.binary(max_size=600)),
    st.binary(max_size=60).map(lambda rest: b"\0\x06" + rest),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((5069, 69)), packets), max_size=6))
def test_any_packets_are_a_reply(answers: list[tuple[int, bytes]]) -> None:
    assert isinstance(read(*answers)[0], TftpReply)
