"""Nodes up to their first script: DHCP with a proxy, the boot file and ``autoexec.ipxe`` over TFTP.

Each node asks as EDK2's PXE client does: DHCP with 4, 8, 16 and 32 s to the next try, until an address and a
proxy have been offered; the lease; the boot file from port 4011; then over TFTP (blksize 1468, 6 tries 4 s
apart) the file's size, and the file; as iPXE it goes on with ``autoexec.ipxe`` over TFTP (blksize 1432).
Where one of these is not had, the node has given up. All addresses of ``nodes`` are this host's (a local
route).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address

from node_loop import Node, NodeLoop, Plan

from ectools.netboot.probe.clients.client import (
    build_boot_request,
    build_discover,
    build_lease_request,
    first_client,
)
from ectools.netboot.probe.wire.dhcp import Message, MessageType, Option, build_message, parse_message
from ectools.netboot.protocols import load_protocols

DHCP_TRIES = (4.0, 8.0, 16.0, 32.0)
TFTP_TRIES, TFTP_SECONDS = 6, 4.0
_PKTINFO = struct.Struct("=I4s4s")
# <linux/in.h>, <asm-generic/socket.h>: Python has no names for them before 3.13.
IP_PKTINFO, SO_RCVBUFFORCE = 8, 33


def encode(message: Message) -> bytes:
    """Without the name by which a boot server knows the probe."""
    options = {number: value for number, value in message.options.items() if number != Option.HOST_NAME}
    return build_message(replace(message, options=options))


class FirstStage(NodeLoop):
    """What comes after ``autoexec.ipxe`` is a subclass's (``begin_script``)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.client = first_client(next(each for each in load_protocols().architectures if each.number == 7))
        self.dhcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.dhcp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.dhcp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.dhcp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, plan.interface.encode())
        self.dhcp.bind(("0.0.0.0", 68))
        self.dhcp.setblocking(False)
        self.poll.register(self.dhcp.fileno(), select.EPOLLIN)

    def begin_script(self, node: Node) -> None:
        raise NotImplementedError

    # DHCP

    def start(self, node: Node) -> None:
        node.began = time.monotonic()
        self.discover(node)

    def discover(self, node: Node) -> None:
        if node.tries == len(DHCP_TRIES):
            self.give_up(node)
            return
        message = build_discover(self.client, mac=node.mac, xid=node.number)
        self.dhcp.sendto(encode(message), ("255.255.255.255", 67))
        self.wait(node, DHCP_TRIES[node.tries], self.discover)
        node.tries += 1

    def lease(self, node: Node) -> None:
        assert node.offer is not None
        if node.tries == len(DHCP_TRIES):
            self.give_up(node)
            return
        server = node.offer.server_id
        assert server is not None
        request = build_lease_request(node.offer, self.client, server=server)
        self.dhcp.sendto(encode(request), ("255.255.255.255", 67))
        self.wait(node, DHCP_TRIES[node.tries], self.lease)
        node.tries += 1

    def ask_proxy(self, node: Node) -> None:
        assert node.offer is not None
        if node.tries == len(DHCP_TRIES):
            self.give_up(node)
            return
        address, server = node.offer.yiaddr, IPv4Address(self.plan.proxy)
        data = encode(
            build_boot_request(
                self.client, mac=node.mac, xid=node.number, address=address, server=server, item=None
            )
        )
        source = [(socket.IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(0, address.packed, bytes(4)))]
        self.dhcp.sendmsg([data], source, 0, (self.plan.proxy, 4011))
        self.wait(node, DHCP_TRIES[node.tries], self.ask_proxy)
        node.tries += 1

    def take_dhcp(self) -> None:
        for _ in range(256):
            try:
                data = self.dhcp.recv(2048)
            except BlockingIOError:
                return
            message = parse_message(data)
            if message.xid < len(self.nodes) and not self.nodes[message.xid].ended:
                self.take_answer(self.nodes[message.xid], message)

    def take_answer(self, node: Node, message: Message) -> None:
        if node.what == "DHCP offers" and message.kind is MessageType.OFFER:
            if int(message.yiaddr):
                node.offer = message
            else:
                node.proxied = True
            if node.offer is not None and node.proxied:
                self.passed(node, "offered")
                node.what, node.tries = "the lease", 0
                self.lease(node)
        elif node.what == "the lease" and message.kind is MessageType.NAK:
            # Two were offered one address, which the other has: RFC 2131, section 3.1, step 4.
            self.tries["an address that another had"] += 1
            node.what, node.tries, node.offer, node.proxied = "DHCP offers", 0, None, False
            self.discover(node)
        elif node.what == "the lease" and message.kind is MessageType.ACK and int(message.yiaddr):
            self.passed(node, "leased")
            node.ip = str(message.yiaddr)
            node.what, node.tries = "the boot file's name", 0
            self.ask_proxy(node)
        elif node.what == "the boot file's name" and message.kind is MessageType.ACK and message.boot_file:
            self.passed(node, "named")
            node.boot_file = message.boot_file
            self.read(node, node.boot_file, "the boot file's size", blksize=1468)

    # TFTP

    def read(self, node: Node, name: str, what: str, *, blksize: int) -> None:
        options = ("tsize", "0", "blksize", str(blksize))
        node.request = b"\0\1" + b"".join(word.encode() + b"\0" for word in (name, "octet", *options))
        node.what, node.tries = what, 0
        self.open_transfer(node)
        self.ask(node)

    def open_transfer(self, node: Node) -> None:
        self.close(node)
        transfer = node.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        transfer.setblocking(False)
        transfer.bind((node.ip, 0))
        node.block, node.got, node.length, node.peer, node.is_http = 0, 0, 1468, None, False
        self.by_descriptor[transfer.fileno()] = node
        self.poll.register(transfer.fileno(), select.EPOLLIN)

    def ask(self, node: Node) -> None:
        """The request, or what was sent last."""
        if node.tries == TFTP_TRIES:
            self.give_up(node)
            return
        assert node.socket is not None
        node.tries += 1
        if node.peer is None:
            node.socket.sendto(node.request, (self.plan.proxy, 69))
        else:
            self.tries["an ACK sent again"] += 1
            self.acknowledge(node)
        self.wait(node, TFTP_SECONDS, self.ask)

    def acknowledge(self, node: Node) -> None:
        assert node.socket is not None
        assert node.peer is not None
        node.socket.sendto(struct.pack("!HH", 4, node.block & 0xFFFF), node.peer)

    def take_block(self, node: Node) -> None:
        assert node.socket is not None
        data, peer = node.socket.recvfrom(2048)
        node.last = time.monotonic()
        if node.peer not in (None, peer):
            return  # dnsmasq has answered a request that was sent again
        kind = data[1]
        if kind == 6:
            fields = data[2:].split(b"\0")
            options = dict(zip(fields[::2], fields[1::2], strict=False))
            node.length = int(options.get(b"blksize", b"512"))
            if node.what == "the boot file's size":
                node.socket.sendto(b"\0\5\0\x08User aborted the transfer\0", peer)
                self.passed(node, "sized")
                self.read(node, node.boot_file, "the boot file", blksize=1468)
                return
        elif kind == 3:
            if int.from_bytes(data[2:4], "big") != (node.block + 1) & 0xFFFF:
                return
            node.block += 1
            node.got += len(data) - 4
        else:
            self.give_up(node, f"{node.what}: {data[4:].decode('latin-1')}")
            return
        if node.peer is None:
            node.peer = peer
            if node.tries > 1:
                self.tries[f"{node.what}: more than one try"] += 1
            node.tries = 1
        is_last = kind == 3 and len(data) - 4 < node.length
        if is_last or not self.plan.pause or node.what != "the boot file":
            self.acknowledge(node)
            if is_last:
                self.take_file(node)
                return
        else:
            self.at(time.monotonic() + self.plan.pause, partial(self.acknowledge_later, node, node.block))
        node.tries = 1

    def acknowledge_later(self, node: Node, block: int) -> None:
        if (
            node.block == block
            and node.what == "the boot file"
            and not node.ended
            and node.socket is not None
        ):
            self.acknowledge(node)

    def take_file(self, node: Node) -> None:
        if node.what == "the boot file":
            self.passed(node, "boot file")
            self.read(node, "autoexec.ipxe", "autoexec.ipxe", blksize=1432)
        else:
            self.passed(node, "first script")
            self.begin_script(node)
