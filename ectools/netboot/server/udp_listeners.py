"""Who else has a UDP port of ours, and on which interface: a second DHCP or TFTP server on this host.

The kernel's list of sockets (sock_diag(7)) says which interface a socket is bound to (SO_BINDTODEVICE), which
/proc/net/udp does not: by that libvirt's dnsmasq, which serves a bridge of its own, is told from one that
hears the same clients. pyroute2's DiagSocket asks for TCP and Unix sockets alone.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4  # <linux/netlink.h>
_SOCK_DIAG_BY_FAMILY = 20  # <linux/sock_diag.h>
_NLM_F_REQUEST_DUMP = 0x1 | 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_ALL_STATES = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
# struct inet_diag_req_v2: family, protocol, extensions, a byte, states; then struct inet_diag_sockid: two
# ports, two addresses of 16 bytes, interface, two words of a cookie (<linux/inet_diag.h>).
_REQUEST = struct.Struct("=BBBxI")
_ID = struct.Struct("!HH4s12s16s")
_ID_BYTES = 48
# struct inet_diag_msg: family, state, timer, retransmissions; the id; expires, two queues, uid, inode.
_MESSAGE_BYTES = 4 + _ID_BYTES + 20
_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class UdpListener:
    """A socket that hears a port. ``interface`` None: it hears those of all that have its address.

    ``process`` is the name of the program, where this user may know it; ``is_own``: `ectools` has started it.
    """

    address: IPv4Address
    port: int
    interface: str | None
    process: str | None
    is_own: bool

    def hears(self, address: IPv4Address, interface: str | None) -> bool:
        """Whether what clients send to a server of this address and interface comes here too."""
        if self.interface is not None and interface is not None and self.interface != interface:
            return False
        return self.address.is_unspecified or self.address == address


def list_udp_listeners(*ports: int) -> list[UdpListener]:
    """The IPv4 sockets that have one of the ports. Empty where the kernel does not tell."""
    try:
        found = [entry for entry in _dump() if entry[1] in ports]
    except OSError:
        return []
    names = _find_processes({inode for *_, inode in found})
    return [
        UdpListener(
            address=address,
            port=port,
            interface=_find_interface(index),
            process=names.get(inode, (None, False))[0],
            is_own=names.get(inode, (None, False))[1],
        )
        for address, port, index, inode in found
    ]


def _dump() -> Iterator[tuple[IPv4Address, int, int, int]]:
    """Address, port, index of the interface, inode, for each UDP socket."""
    body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_UDP, 0, _ALL_STATES) + bytes(_ID_BYTES)
    header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(header + body)
        while True:
            for kind, message in _split(kernel.recv(1 << 16)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", message)[0], "sock_diag")
                port, _, address, _, _ = _ID.unpack_from(message, 4)
                (index,) = struct.unpack_from("=I", message, 4 + _ID.size)
                (inode,) = struct.unpack_from("=I", message, _MESSAGE_BYTES - 4)
                yield IPv4Address(address), port, index, inode


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of one datagram (netlink(7)): type and body."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += max(length + 3 & ~3, _HEADER.size)


def _find_interface(index: int) -> str | None:
    try:
        return socket.if_indextoname(index) if index else None
    except OSError:
        return f"#{index}"


def _find_processes(inodes: set[int]) -> dict[int, tuple[str, bool]]:
    """Inode → name of the process, and whether it is ours, of those whose descriptors this user may see."""
    names = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for directory in Path("/proc").glob("[0-9]*/fd") if wanted else ():
        try:
            links = {_read_link(entry) for entry in directory.iterdir()}
            held = [inode for link, inode in wanted.items() if link in links]
            if held:
                name = (directory.parent / "comm").read_text().strip()
                names.update(dict.fromkeys(held, (name, _is_own(directory.parent))))
        except OSError:
            continue
    return names


def _read_link(entry: Path) -> str:
    """Empty where the descriptor is closed meanwhile, as the one is that has listed them."""
    try:
        return str(entry.readlink())
    except OSError:
        return ""


def _is_own(process: Path) -> bool:
    """Whether a process, or the one that has started it, is `ectools`."""
    parent = next(
        line.split()[1] for line in (process / "status").read_text().splitlines() if line.startswith("PPid:")
    )
    lines = (each / "cmdline" for each in (process, process.parent / parent))
    return any(b"ectools" in line.read_bytes() for line in lines if line.exists())
