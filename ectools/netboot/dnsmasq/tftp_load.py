"""The load of TFTP: transfers that are under way, and requests that nobody answered.

dnsmasq reads no request while all its transfers are taken, and one that does not fit into its socket's buffer
meanwhile is dropped by the kernel; neither is in its log. Both are in the kernel's list of sockets
(/proc/net/udp: proc(5); its last column, ``drops``, is in Linux's Documentation/networking/proc_net_tcp.rst).
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.netboot.protocols import load_protocols
from ectools.netboot.settings.model import NETBOOT_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ipaddress import IPv4Address

_log = log.Log(__name__)

LOOK_SECONDS = 5.0
"""Seconds between two looks."""
_REPORT_SECONDS = 60.0
# What dnsmasq has beside its transfers' sockets has ports below this one.
_FIRST_CHOSEN_PORT = 4096
_MAX_FIGURE = 2**63
BUFFER_HINT = (
    f"the buffer of a socket is net.core.rmem_default (sysctl) when dnsmasq starts: "
    f"{NETBOOT_OPTIONS}.tftp.receiveBuffer has what it should be"
)


@dataclass(frozen=True, kw_only=True)
class TftpFigures:
    """``transfers`` under way, of at most ``max_transfers``; the rest counts from the start on.

    ``sent``: files, as far as dnsmasq's log has them. ``dropped``: requests that did not fit into the
    socket's buffer. ``refused``: of addresses that had their share; None where this process may not know it.
    ``lines_lost``: of dnsmasq's log.
    """

    transfers: int
    max_transfers: int
    sent: int = 0
    dropped: int = 0
    refused: int | None = None
    lines_lost: int = 0

    def to_json(self) -> Mapping[str, int | None]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> TftpFigures:
        """Raises ValueError for what ``to_json`` does not make."""
        names = cls.__dataclass_fields__
        if not isinstance(data, dict) or data.keys() != names.keys():
            raise ValueError("not the figures of TFTP")
        for name, value in data.items():
            if value is None and name == "refused":
                continue
            if type(value) is not int or not 0 <= value < _MAX_FIGURE:
                raise ValueError(f"{name} is no count")
        return cls(**data)


@dataclass(frozen=True, kw_only=True)
class SocketLoad:
    """Of one dnsmasq: its transfers' sockets, and what was dropped at the one that hears requests."""

    transfers: int
    dropped: int


def read_socket_load(pid: int, address: IPv4Address) -> SocketLoad | None:
    """The load of a dnsmasq that serves at ``address``, in its network namespace; None where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]
    except OSError:
        return None
    # The kernel prints the address as a number of this machine's byte order.
    own = address.packed[::-1].hex().upper()
    transfers, dropped, tftp = 0, 0, load_protocols().ports.tftp
    for fields in map(str.split, lines):
        host, _, port = fields[1].partition(":")
        if host != own:
            continue
        if int(port, 16) == tftp:
            dropped += int(fields[-1])
        elif int(port, 16) >= _FIRST_CHOSEN_PORT:
            transfers += 1
    return SocketLoad(transfers=transfers, dropped=dropped)


class TftpWatch:
    """The figures, kept up over dnsmasq's restarts, and a line a minute where clients got no answer.

    ``count_refused`` gives the requests that were refused since it was last called, None where nobody counts
    them. Both it and the look at the sockets may take their time: they run in a thread.
    """

    def __init__(self, address: IPv4Address, *, count_refused: Callable[[], int | None]) -> None:
        self._address = address
        self._count_refused = count_refused
        self._seen: tuple[int, int] = (0, 0)
        self._transfers = 0
        self._dropped = 0
        self._refused: int | None = None
        self._told = {"dropped": 0, "refused": 0, "full": 0}
        self.sent = 0
        self.lines_lost = 0

    def figures(self, max_transfers: int) -> TftpFigures:
        return TftpFigures(
            transfers=self._transfers,
            max_transfers=max_transfers,
            sent=self.sent,
            dropped=self._dropped,
            refused=self._refused,
            lines_lost=self.lines_lost,
        )

    async def run(self, running: Callable[[], tuple[int | None, int]]) -> None:
        """Look until cancelled. ``running`` gives dnsmasq's process, or None, and its ``max_transfers``."""
        loop = asyncio.get_running_loop()
        told = counted = -_REPORT_SECONDS
        full_looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            pid, most = running()
            load = None if pid is None else await asyncio.to_thread(read_socket_load, pid, self._address)
            self._take(pid, load)
            # That one starts a program.
            if loop.time() - counted >= _REPORT_SECONDS:
                counted = loop.time()
                refused = await asyncio.to_thread(self._count_refused)
                self._refused = self._refused if refused is None else (self._refused or 0) + refused
            full_looks += self._transfers >= most
            if loop.time() - told >= _REPORT_SECONDS and self._tell(full_looks, most):
                told = loop.time()

    def _take(self, pid: int | None, load: SocketLoad | None) -> None:
        if pid is None or load is None:
            self._transfers = 0
            return
        before = self._seen[1] if self._seen[0] == pid else 0
        self._dropped += max(0, load.dropped - before)
        self._seen = (pid, load.dropped)
        self._transfers = load.transfers

    def _tell(self, full_looks: int, most: int) -> bool:
        """Whether there was something to tell since the last time."""
        now = {"dropped": self._dropped, "refused": self._refused or 0, "full": full_looks}
        new = {key: count - self._told[key] for key, count in now.items()}
        self._told = now
        if new["dropped"]:
            _log.warning(
                "TFTP requests were dropped: they did not fit into the socket's buffer",
                requests=new["dropped"],
                hint=BUFFER_HINT,
            )
        if new["refused"]:
            _log.warning("TFTP turned away who has his share of the transfers", requests=new["refused"])
        if new["full"]:
            _log.warning(
                "all TFTP transfers are taken: further clients wait until one ends",
                transfers=most,
                hint=f"{NETBOOT_OPTIONS}.tftp.maxTransfers is how many there may be",
            )
        return any(new.values())
