"""Nodes that boot, from DHCPDISCOVER to the last byte of the initrd: many of them in one process.

    first_stage.py JSON        the fields of ``Storm``; prints one JSON object

Each node asks as EDK2's PXE client does: DHCP with 4, 8, 16 and 32 s to the next try, until an address and a
proxy have been offered; the lease; the boot file from port 4011; then over TFTP (blksize 1468, 6 tries 4 s
apart) the file's size, and the file; as iPXE it goes on with ``autoexec.ipxe`` over TFTP (blksize 1432), and
over HTTP with the script, the kernel and the initrd, each on a connection of its own. Where one of these is
not had, the node has given up. All addresses of ``nodes`` are this host's (a local route).

One event loop serves the transfers while further nodes start: who starts all first measures himself. ``late``
is by how many seconds an event was looked at after it was due: near a second, the nodes were the limit.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import json
import random
import select
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ectools.netboot.probe.clients.client import (
    build_boot_request,
    build_discover,
    build_lease_request,
    first_client,
)
from ectools.netboot.probe.wire.dhcp import Message, MessageType, Option, build_message, parse_message
from ectools.netboot.protocols import load_protocols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DHCP_TRIES = (4.0, 8.0, 16.0, 32.0)
TFTP_TRIES, TFTP_SECONDS = 6, 4.0
HTTP_STALL_SECONDS = 60.0
DEADLINE_SECONDS = 400.0
SINK = bytearray(1 << 20)
_PKTINFO = struct.Struct("=I4s4s")
# <linux/in.h>, <asm-generic/socket.h>: Python has no names for them before 3.13.
IP_PKTINFO, SO_RCVBUFFORCE = 8, 33


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``count`` nodes come evenly within ``arrival`` seconds.

    ``pause``: seconds before an ACK of the firmware.
    ``proxy`` is the boot server, ``interface`` the nodes' own. ``paths`` are asked for over HTTP, in order.
    """

    count: int
    arrival: float
    pause: float
    proxy: str
    interface: str
    http_port: int
    paths: list[str]


def encode(message: Message) -> bytes:
    """Without the name by which a boot server knows the probe."""
    options = {number: value for number, value in message.options.items() if number != Option.HOST_NAME}
    return build_message(replace(message, options=options))


class Node:
    """One node: what it does now, since when, and its tries."""

    __slots__ = (
        "began", "block", "boot_file", "ended", "got", "head", "ip", "last", "length", "mac", "number",
        "offer", "peer", "proxied", "request", "socket", "steps", "tries", "turn", "what",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        # By chance, and the same in each run: dnsmasq's choice of an address is a hash of them.
        self.mac = bytes((2, 0xEC)) + random.Random(number).randbytes(4)
        self.offer: Message | None = None
        self.proxied = False
        self.ip = ""
        self.boot_file = ""
        self.socket: socket.socket | None = None
        self.what = "DHCP offers"
        self.tries = 0
        self.turn = 0
        self.began = 0.0
        self.ended = 0.0
        self.last = 0.0
        self.steps: Iterator[str] = iter(())


class Storm:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.client = first_client(next(each for each in load_protocols().architectures if each.number == 7))
        self.poll = select.epoll()
        self.nodes = [Node(number) for number in range(plan.count)]
        self.by_descriptor: dict[int, Node] = {}
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.gave_up: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {}
        self.done = 0
        self.late = 0.0
        self.dhcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.dhcp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.dhcp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.dhcp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, plan.interface.encode())
        self.dhcp.bind(("0.0.0.0", 68))
        self.dhcp.setblocking(False)
        self.poll.register(self.dhcp.fileno(), select.EPOLLIN)

    def run(self) -> float:
        begin = time.monotonic()
        for node in self.nodes:
            self.at(
                begin + self.plan.arrival * node.number / self.plan.count, lambda node=node: self.start(node)
            )
        while self.done < self.plan.count:
            now = time.monotonic()
            if now > begin + DEADLINE_SECONDS:
                for node in self.nodes:
                    if not node.ended:
                        self.give_up(node, "still not done")
                break
            # A slice of what is due, then what has come: neither may wait for the other.
            for _ in range(64):
                if not self.due or self.due[0][0] > now:
                    break
                when, _, act = heapq.heappop(self.due)
                self.late = max(self.late, now - when)
                act()
            wait = max(0.0, self.due[0][0] - time.monotonic()) if self.due else 1.0
            for descriptor, _ in self.poll.poll(wait, 256):
                if descriptor == self.dhcp.fileno():
                    self.take_dhcp()
                elif (node := self.by_descriptor.get(descriptor)) is not None:
                    self.step(node)
        return time.monotonic() - begin

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.due, (when, next(self.order), act))

    def wait(self, node: Node, seconds: float, late: Callable[[Node], None]) -> None:
        """Call ``late`` where nothing has come for so long, unless the node has gone on to something else."""
        node.turn += 1
        node.last = time.monotonic()
        turn = node.turn

        def look() -> None:
            if node.turn != turn or node.ended:
                return
            due = node.last + seconds
            if due > time.monotonic() + 0.001:
                self.at(due, look)
            else:
                late(node)

        self.at(node.last + seconds, look)

    def give_up(self, node: Node, why: str = "") -> None:
        self.gave_up[why or node.what] += 1
        self.end(node)

    def end(self, node: Node) -> None:
        self.close(node)
        node.ended = time.monotonic()
        self.done += 1

    def close(self, node: Node) -> None:
        if node.socket is not None:
            self.by_descriptor.pop(node.socket.fileno(), None)
            node.socket.close()
            node.socket = None

    def passed(self, node: Node, step: str) -> None:
        self.seconds.setdefault(step, []).append(time.monotonic() - node.began)
        if node.tries > 1:
            self.tries[f"{node.what}: more than one try"] += 1

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
        node.block, node.got, node.length, node.peer = 0, 0, 1468, None
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
            self.at(
                time.monotonic() + self.plan.pause, lambda turn=node.block: self.acknowledge_later(node, turn)
            )
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
            node.head = b""
            node.steps = iter(self.plan.paths)
            self.fetch(node)

    # HTTP

    def fetch(self, node: Node) -> None:
        self.close(node)
        path = next(node.steps, None)
        if path is None:
            self.passed(node, "booted")
            self.end(node)
            return
        node.what, node.tries = path.rpartition("/")[2], 1
        client = node.socket = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        client.bind((node.ip, 0))
        node.request = f"GET {path} HTTP/1.1\r\nHost: boot\r\nConnection: close\r\n\r\n".encode()
        node.head, node.length, node.got, node.peer = None, -1, 0, "HTTP"
        error = client.connect_ex((self.plan.proxy, self.plan.http_port))
        if error not in (0, errno.EINPROGRESS):
            self.give_up(node, f"{node.what}: {errno.errorcode[error]}")
            return
        self.by_descriptor[client.fileno()] = node
        self.poll.register(client.fileno(), select.EPOLLOUT)
        self.wait(node, HTTP_STALL_SECONDS, self.give_up)

    def take_http(self, node: Node) -> None:
        client = node.socket
        assert client is not None
        if node.head is None:
            if error := client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, errno.errorcode[error])
            client.send(node.request)
            node.head = b""
            self.poll.modify(client.fileno(), select.EPOLLIN)
            return
        if node.length < 0:
            part = client.recv(4096)
            if not part:
                raise OSError(0, "closed before the response")
            node.head += part
            header, end, body = node.head.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 200 " not in header.split(b"\r\n")[0]:
                raise OSError(0, header.split(b"\r\n")[0].decode("latin-1"))
            lengths = [
                line.split(b":")[1]
                for line in header.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ]
            node.length, node.got = int(lengths[0]), len(body)
        else:
            got = client.recv_into(SINK, len(SINK), socket.MSG_TRUNC)
            if not got:
                raise OSError(0, "closed during the body")
            node.got += got
            node.last = time.monotonic()
        if node.got >= node.length:
            self.passed(node, node.what)
            self.fetch(node)

    def step(self, node: Node) -> None:
        try:
            if node.peer == "HTTP":
                self.take_http(node)
            else:
                self.take_block(node)
        except BlockingIOError:
            return
        except OSError as error:
            self.give_up(node, f"{node.what}: {error.strerror or error}")


def main(text: str) -> None:
    storm = Storm(Plan(**json.loads(text)))
    seconds = storm.run()
    quantiles = {
        step: {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "last": times[-1]}
        for step, times in ((step, sorted(times)) for step, times in storm.seconds.items())
    }
    found = {
        "seconds": seconds,
        "booted": storm.plan.count - sum(storm.gave_up.values()),
        "gave up": storm.gave_up,
        "tries": storm.tries,
        "steps": quantiles,
        "late": storm.late,
        "cpu": time.process_time() / seconds,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
