"""Reports of dnsmasq's process to the HTTP server's: JSON datagrams on a Unix socket that the latter binds.

    {"state": "running", "restarts": 0, "tftp": {…}, "clients": {…}}
                                    every 5 s, and when it changes (TftpFigures, ClientCounts)
    {"delivered": {"client": "192.0.2.20", "file": "ec-ipxe.efi"}}   the file's path below the TFTP directory
    {"offered": {"mac": "02:00:00:12:34:56"}}                        firmware that ProxyDHCP has answered

Neither side waits for the other, and either may be started at any time: what nobody takes is lost. The kernel
bounds the queue (net.unix.max_dgram_qlen), the receiver how much it takes at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.files import FileError
from ectools.netboot.dnsmasq.counts import ClientCounts
from ectools.netboot.dnsmasq.tftp_load import TftpFigures
from ectools.netboot.fleet.machine import normalize_mac
from ectools.supervision import ChildState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

_log = log.Log(__name__)

REPORT_SECONDS = 5.0
"""Seconds between two reports of the state."""
_FRESH_SECONDS = 20.0
"""An older state counts as unknown."""
_MAX_BYTES = 4096
_MAX_FILENAME = 511
_MAX_AT_ONCE = 64
_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
UNKNOWN = "unknown"


class ReportSender:
    """dnsmasq's side. ``lost`` counts reports that could not be sent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lost = 0

    def state(self, state: ChildState, *, restarts: int, tftp: TftpFigures, clients: ClientCounts) -> None:
        figures = {"tftp": tftp.to_json(), "clients": clients.to_json()}
        self._send({"state": state, "restarts": restarts, **figures})

    def delivered(self, client: str, file: str) -> None:
        self._send({"delivered": {"client": client, "file": file}})

    def offered(self, mac: str) -> None:
        self._send({"offered": {"mac": mac}})

    def _send(self, report: Mapping[str, Any]) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(json.dumps(report).encode(), str(self._path))
        except OSError:  # nobody is there, or does not keep up
            self.lost += 1


class DnsmasqReports:
    """The HTTP server's side, in the place of ``dnsmasq.process.Dnsmasq``.

    Who may write to the socket is believed if the kernel says that it is root, this process's user or of its
    group. ``ignored`` counts what was no report, or another's.
    """

    def __init__(
        self,
        path: Path,
        *,
        delivered: Callable[[str, str], None],
        offered: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._delivered = delivered
        self._offered = offered
        self._last: tuple[ChildState, float] | None = None
        self.tftp: TftpFigures | None = None
        """What was reported last."""
        self.clients: ClientCounts | None = None
        self.restarts = 0
        self.ignored = 0

    @property
    def state(self) -> ChildState | str:
        """The state that was reported last; ``unknown`` where none was, or too long ago."""
        if self._last is None:
            return UNKNOWN
        state, reported = self._last
        return state if asyncio.get_running_loop().time() - reported < _FRESH_SECONDS else UNKNOWN

    def details(self) -> Mapping[str, Any]:
        """Further fields of the health report."""
        tftp = {} if self.tftp is None else {"tftp": self.tftp.to_json()}
        return {"dnsmasq_restarts": self.restarts, "dnsmasq_reports_ignored": self.ignored, **tftp}

    @contextlib.asynccontextmanager
    async def running(
        self,
        *,
        unless: asyncio.Event,  # noqa: ARG002 - a dnsmasq of one's own ends by it
    ) -> AsyncIterator[asyncio.Future[None]]:
        """Take reports for the length of the block. What it gives never ends: dnsmasq is another's.

        Raises FileError.
        """
        loop = asyncio.get_running_loop()
        with contextlib.closing(_bind(self._path)) as channel:
            loop.add_reader(channel, self._take, channel)
            try:
                yield loop.create_future()
            finally:
                loop.remove_reader(channel)
                with contextlib.suppress(OSError):
                    self._path.unlink()

    def _take(self, channel: socket.socket) -> None:
        for _ in range(_MAX_AT_ONCE):
            try:
                data, ancillary, flags, _address = channel.recvmsg(
                    _MAX_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except OSError:
                return  # there is no more
            if flags & socket.MSG_TRUNC or not _is_trusted(ancillary) or not self._read(data):
                self._ignore()

    def _read(self, data: bytes) -> bool:
        """Take one report; returns whether it was one."""
        try:
            match json.loads(data):
                case {"state": str(state), "restarts": int(restarts), **further}:
                    last = ChildState(state), asyncio.get_running_loop().time()
                    tftp, clients = self.tftp, self.clients
                    if "tftp" in further:
                        tftp = TftpFigures.from_json(further["tftp"])
                    if "clients" in further:
                        clients = ClientCounts.from_json(further["clients"])
                    self.tftp, self.clients = tftp, clients
                    self._last, self.restarts = last, restarts
                case {"delivered": {"client": str(client), "file": str(file)}}:
                    if not 0 < len(file) <= _MAX_FILENAME:
                        return False
                    self._delivered(str(IPv4Address(client)), file)
                case {"offered": {"mac": str(mac)}}:
                    if normalize_mac(mac) is None:
                        return False
                    self._offered(mac)
                case _:
                    return False
        except (ValueError, RecursionError):
            return False
        return True

    def _ignore(self) -> None:
        self.ignored += 1
        # Who goes on would fill the log: the first is logged, and /healthz has the count.
        if self.ignored == 1:
            _log.warning(
                "what came as a report of dnsmasq's is none, or not of its user", socket=str(self._path)
            )


def _bind(path: Path) -> socket.socket:
    """A socket that this process's group may write to. One that a dead process left is replaced."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        if path.is_socket():
            path.unlink()
        # Nobody else can connect before its rights are set.
        before = os.umask(0o177)
        try:
            channel.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(0o660)
    except OSError as error:
        channel.close()
        raise FileError(
            f"{path}: no socket for dnsmasq's reports can be made: {error.strerror or error}"
        ) from error
    return channel


def _is_trusted(ancillary: list[tuple[int, int, bytes]]) -> bool:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) == _CREDENTIALS.size:
            _pid, uid, gid = _CREDENTIALS.unpack(data)
            # In a user namespace (PrivateUsers= of systemd.exec(5)) the group alone still has its number.
            return uid in (0, os.geteuid()) or gid == os.getegid()
    return False
