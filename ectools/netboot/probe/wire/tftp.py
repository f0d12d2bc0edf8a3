"""The beginning of a file over TFTP (RFC 1350; options: RFC 2347 to 2349), and no more than was asked for."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from ectools.netboot.protocols import PROBE_NAME, load_protocols

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.netboot.probe.wire.packet_socket import UdpEndpoint

_BLOCK_BYTES = 1408
"""Fits an Ethernet frame with every header; what iPXE asks for is near."""
_DEFAULT_BLOCK_BYTES = 512
_RESEND_SECONDS = 1.0
_MOST_SECONDS = 60.0


_ENOUGH = f"{PROBE_NAME}: that is enough\0".encode()


class Opcode(IntEnum):
    """What a TFTP packet is."""

    READ = 1
    DATA = 3
    ACK = 4
    ERROR = 5
    OPTIONS = 6


_ANSWERS = frozenset(each.to_bytes(2) for each in (Opcode.DATA, Opcode.ERROR, Opcode.OPTIONS))


@dataclass(frozen=True, kw_only=True)
class TftpReply:
    """``silent``: nothing came. ``error`` is the server's own, as it words it. ``size`` is None if not told.

    Of a silent one, ``stranger`` is another host that sent a TFTP packet in the server's place, ``errors``
    are the numbers of the errors that came back. ``data`` is the file's beginning, ``whole`` that it is all.
    """

    silent: bool = False
    stranger: IPv4Address | None = None
    errors: frozenset[int] = frozenset()
    error: str | None = None
    size: int | None = None
    data: bytes = b""
    whole: bool = False


def build_read(name: str) -> bytes:
    """The request, as firmware asks: octets, the size, large blocks."""
    words = (name, "octet", "tsize", "0", "blksize", str(_BLOCK_BYTES))
    return struct.pack("!H", Opcode.READ) + b"".join(
        word.encode("utf-8", "surrogateescape") + b"\0" for word in words
    )


def parse_options(payload: bytes) -> dict[str, str]:
    """The options that a server accepts; names in lower case."""
    words = payload.decode("ascii", "replace").split("\0")
    return {words[at].lower(): words[at + 1] for at in range(0, len(words) - 1, 2) if words[at]}


def read_tftp_beginning(
    endpoint: UdpEndpoint, server: IPv4Address, name: str, *, limit: int, seconds: float
) -> TftpReply:
    """Fetch up to about ``limit`` bytes, then tell the server to stop. ``seconds`` is for each answer."""
    transfer = _Transfer(endpoint, server, limit=limit)
    transfer.send(build_read(name), port=load_protocols().ports.tftp)
    deadline = time.monotonic() + _MOST_SECONDS
    while True:
        packet = transfer.wait(seconds)
        if packet is None or time.monotonic() > deadline:
            answered = transfer.port is not None
            error = "the transfer broke off" if answered else None
            return TftpReply(
                silent=not answered,
                stranger=transfer.stranger,
                errors=frozenset(endpoint.errors),
                error=error,
                size=transfer.size,
            )
        port, opcode, rest = packet
        if opcode == Opcode.ERROR:
            text = rest[2:].partition(b"\0")[0].decode("utf-8", "backslashreplace")
            code = int.from_bytes(rest[:2])
            return TftpReply(error=f"error {code}: {text}" if text else f"error {code}")
        if transfer.take(opcode, rest, port=port):
            data = bytes(transfer.data)
            return TftpReply(size=transfer.size, data=data, whole=transfer.whole)


class _Transfer:
    """One file being read: what is expected next, and what to say again where it does not come."""

    def __init__(self, endpoint: UdpEndpoint, server: IPv4Address, *, limit: int) -> None:
        self._endpoint, self._server, self._limit = endpoint, server, limit
        self._last = b""
        self._last_port = 0
        self._block_bytes = _DEFAULT_BLOCK_BYTES
        self._next = 1
        self.port: int | None = None
        self.stranger: IPv4Address | None = None
        self.size: int | None = None
        self.data = bytearray()
        self.whole = False

    def send(self, payload: bytes, *, port: int) -> None:
        self._last, self._last_port = payload, port
        self._endpoint.send(payload, to=self._server, port=port)

    def wait(self, seconds: float) -> tuple[int, int, bytes] | None:
        """The next packet of this transfer: the server's port, the opcode, and what is behind it.

        What was said last is said again meanwhile.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for source, port, payload in self._endpoint.wait(min(left, _RESEND_SECONDS)):
                if source == self._server and len(payload) >= 4 and self.port in (None, port):
                    self.port = port
                    return port, int.from_bytes(payload[:2]), payload[2:]
                if source != self._server and payload[:2] in _ANSWERS:
                    self.stranger = source
            self._endpoint.send(self._last, to=self._server, port=self._last_port)
        return None

    def take(self, opcode: int, rest: bytes, *, port: int) -> bool:
        """Take a packet in, and answer it; True when there is enough."""
        if opcode == Opcode.OPTIONS and not self.data:
            options = parse_options(rest)
            self.size = _parse_number(options.get("tsize"))
            self._block_bytes = _parse_number(options.get("blksize")) or _DEFAULT_BLOCK_BYTES
            self.send(struct.pack("!HH", Opcode.ACK, 0), port=port)
        elif opcode == Opcode.DATA and int.from_bytes(rest[:2]) == self._next & 0xFFFF:
            block = rest[2:]
            self.data += block
            self._next += 1
            self.whole = len(block) < self._block_bytes
            if self.whole:
                self.size = len(self.data)
            if self.whole or len(self.data) >= self._limit:
                # RFC 1350, section 5: an error ends a transfer; code 0 says by its text why. It is said at a
                # file's end too, so that the server's log can tell who took it.
                self.send(struct.pack("!HH", Opcode.ERROR, 0) + _ENOUGH, port=port)
                return True
            self.send(struct.pack("!H", Opcode.ACK) + rest[:2], port=port)
        return False


def _parse_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None
