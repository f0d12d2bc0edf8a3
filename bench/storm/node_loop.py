"""Many nodes on one event loop: what each waits for, its tries, and when it has given up.

One loop serves what has come while further nodes start: who starts all first measures himself. ``late`` is by
how many seconds an event was looked at after it was due: near a second, the nodes were the limit.
"""

from __future__ import annotations

import heapq
import itertools
import random
import select
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from conversation import HttpRequest

    from ectools.netboot.probe.wire.dhcp import Message

DEADLINE_SECONDS = 400.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``count`` nodes come evenly within ``arrival`` seconds.

    ``pause``: seconds before an ACK of the firmware.
    ``proxy`` is the boot server, ``interface`` the nodes' own. ``behaviours``: how their boots go on
    (``conversation.Behaviour``), one node after the other, and from the first again.
    """

    count: int
    arrival: float
    pause: float
    proxy: str
    interface: str
    http_port: int
    behaviours: list[str]


def build_mac(number: int) -> bytes:
    """By chance, and the same in each run: dnsmasq's choice of an address is a hash of them."""
    return bytes((2, 0xEC)) + random.Random(number).randbytes(4)


@dataclass(slots=True, eq=False)
class Node:
    """One node: what it does now, since when, and its tries.

    ``request`` is what it asks for now, of whose answer it has the ``head``, and ``got`` of ``length`` bytes,
    by TFTP up to ``block`` from ``peer``.
    """

    number: int
    mac: bytes
    offer: Message | None = None
    proxied: bool = False
    ip: str = ""
    boot_file: str = ""
    socket: socket.socket | None = None
    what: str = "DHCP offers"
    tries: int = 0
    turn: int = 0
    began: float = 0.0
    ended: float = 0.0
    last: float = 0.0
    request: bytes = b""
    head: bytes | None = None
    length: int = 0
    got: int = 0
    block: int = 0
    peer: tuple[str, int] | None = None
    is_http: bool = False
    script: bytearray = field(default_factory=bytearray)
    steps: Iterator[HttpRequest] = field(default_factory=lambda: iter(()))


class NodeLoop:
    """All nodes; what they do is a subclass's: ``start`` begins a node, ``step`` takes what has come."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.poll = select.epoll()
        self.nodes = [Node(number, build_mac(number)) for number in range(plan.count)]
        self.by_descriptor: dict[int, Node] = {}
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.gave_up: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {}
        self.done = 0
        self.late = 0.0

    def start(self, node: Node) -> None:
        raise NotImplementedError

    def step(self, descriptor: int) -> None:
        raise NotImplementedError

    def run(self) -> float:
        begin = time.monotonic()
        for node in self.nodes:
            self.at(begin + self.plan.arrival * node.number / self.plan.count, partial(self.start, node))
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
                self.step(descriptor)
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
