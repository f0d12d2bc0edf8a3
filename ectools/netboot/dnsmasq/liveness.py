"""Liveness of dnsmasq, which is asked for a file over TFTP as by a client (RFC 1350, 2347, 2349).

dnsmasq 2.90 reads no request while all its transfers are taken: it is silent then, and yet alive, which the
kernel's count of its sleeps tells from one that is stopped or in an endless loop.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ectools import log
from ectools.netboot.protocols import load_protocols

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

_log = log.Log(__name__)

ASK_PAUSE_SECONDS = 10.0
"""Seconds between two questions."""
ANSWER_SECONDS = 5.0
_MOST_SILENT = 2
# Where there is no file to ask for: "not found" is an answer too.
NO_FILE = "ectools-are-you-there"
_ERROR, _OPTIONS_REFUSED = 5, 8
# Sockets and files that are no transfer's.
_OTHER_DESCRIPTORS = 16
_SLEEPS = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)$", re.MULTILINE)


def build_request(name: str) -> bytes:
    """A read request for the file's size, which dnsmasq answers without sending of the file."""
    return b"\0\1" + b"".join(word.encode() + b"\0" for word in (name, "octet", "tsize", "0"))


def build_end() -> bytes:
    """The error packet that ends the transfer (RFC 2347: error 8 rejects the options)."""
    return bytes((0, _ERROR, 0, _OPTIONS_REFUSED)) + b"it was only asked whether dnsmasq is there\0"


class _ReadRequest(asyncio.DatagramProtocol):
    def __init__(self, answered: asyncio.Future[None]) -> None:
        self._answered = answered
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of a selector loop is of no class of this name before Python 3.12.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and data[:2] != bytes((0, _ERROR)):
            self._transport.sendto(build_end(), addr)
        if not self._answered.done():
            self._answered.set_result(None)


async def ask_dnsmasq(address: IPv4Address, name: str, *, seconds: float, port: int | None = None) -> bool:
    """Whether an answer of any kind came within ``seconds``. Raises OSError where no socket can be had."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _ReadRequest(answered), local_addr=(str(address), 0)
    )
    try:
        transport.sendto(build_request(name), (str(address), port or load_protocols().ports.tftp))
        done, _pending = await asyncio.wait({answered}, timeout=seconds)
        return bool(done)
    finally:
        transport.close()


@dataclass(frozen=True, kw_only=True)
class WatchedProcess:
    """The dnsmasq that is asked. ``files`` are those to ask for, of which the first that is there is."""

    pid: int
    address: IPv4Address
    directory: Path
    files: tuple[str, ...]
    max_transfers: int


async def watch_liveness(
    watched: WatchedProcess,
    *,
    answered: Callable[[], None],
    pause_seconds: float = ASK_PAUSE_SECONDS,
    answer_seconds: float = ANSWER_SECONDS,
) -> str:
    """Ask until it hangs, and return how, as a sentence's end. ``answered`` is called for each sign of life.

    A sign of life is an answer; or, while all transfers are taken, that the process still sleeps and wakes.
    """
    silent = 0
    while True:
        await asyncio.sleep(pause_seconds)
        sleeps = _count_sleeps(watched.pid)
        try:
            name = await asyncio.to_thread(_choose_file, watched)  # a disk that hangs holds up this alone
            heard = await ask_dnsmasq(watched.address, name, seconds=answer_seconds)
        except OSError as error:  # no descriptors, no memory: nothing is known of dnsmasq
            _log.warning("dnsmasq cannot be asked whether it is there", reason=error.strerror or str(error))
            continue
        if heard or (_is_full(watched) and _count_sleeps(watched.pid) != sleeps):
            silent = 0
            answered()
        else:
            silent += 1
            if silent == _MOST_SILENT:
                return f"it did not answer over TFTP, {silent} times in a row"
            _log.warning("dnsmasq does not answer over TFTP", seconds=answer_seconds)


def _choose_file(watched: WatchedProcess) -> str:
    return next((name for name in watched.files if (watched.directory / name).is_file()), NO_FILE)


def _count_sleeps(pid: int) -> int | None:
    """The count of voluntary context switches of a process (proc(5), ``status``); None where it is gone."""
    try:
        found = _SLEEPS.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return None if found is None else int(found[1])


def _is_full(watched: WatchedProcess) -> bool:
    """Whether a transfer's socket is open for each that there may be."""
    try:
        opened = sum(1 for _ in Path(f"/proc/{watched.pid}/fd").iterdir())
        return opened >= watched.max_transfers - _OTHER_DESCRIPTORS
    except OSError:
        return False
