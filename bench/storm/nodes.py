"""The nodes: many of them in one process, which throws away what they get, so that the server is measured.

    nodes.py HOST PORT SCRIPT FILE NODES BYTES_PER_SECOND ARRIVAL_SECONDS

Each node fetches the script on a connection of its own, then the file on another, as iPXE does. They arrive
evenly within ``ARRIVAL_SECONDS``; each takes ``BYTES_PER_SECOND`` of the file, 0 for all that it can. Prints
one JSON object: ``seconds`` from the first arrival to the last file's end, ``failures`` (reason → how many),
``p50`` and ``p99`` of the seconds from a script's connection to its last byte, ``cpu`` seconds used here.
"""

from __future__ import annotations

import errno
import heapq
import json
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass

# recv(2): with MSG_TRUNC the kernel discards the bytes of a TCP stream and copies nothing.
CHUNK = 1 << 20
SINK = bytearray(CHUNK)
# About what iPXE offers; a larger one would let 1,000 nodes fill this machine's memory with sockets.
RECEIVE_BUFFER = 256 << 10
TICK_SECONDS = 0.05
DEADLINE_SECONDS = 900


@dataclass(slots=True)
class Node:
    """One node: what it fetches now, on which socket, and how much of it has come."""

    arrival: float
    path: str
    client: socket.socket | None = None
    head: bytes | None = b""
    length: int = 0
    got: int = 0
    began: float = 0.0
    body_began: float = 0.0


class Storm:
    """All nodes, on one epoll. Those that take the file at a pace are looked at by the clock instead."""

    def __init__(self, address: tuple[str, int], script: str, file: str, *, rate: float) -> None:
        self.address = address
        self.script = script
        self.file = file
        self.rate = rate
        self.poll = select.epoll()
        self.nodes: dict[int, Node] = {}
        self.paced: list[tuple[float, int]] = []
        self.scripts: list[float] = []
        self.failures: Counter[str] = Counter()
        self.booted = 0

    def run(self, nodes: int, arrival_seconds: float) -> float:
        """Until every node has booted or failed; returns the seconds that it took."""
        begin = time.monotonic()
        arrivals = [begin + arrival_seconds * number / nodes for number in range(nodes)]
        arrivals.reverse()
        while self.booted + sum(self.failures.values()) < nodes:
            now = time.monotonic()
            if now > begin + DEADLINE_SECONDS:
                self.failures["still not done"] += nodes - self.booted - sum(self.failures.values())
                break
            while arrivals and arrivals[-1] <= now:
                self.connect(Node(arrival=arrivals.pop(), path=self.script))
            while self.paced and self.paced[0][0] <= now:
                self.read_paced(heapq.heappop(self.paced)[1], now)
            due = min(arrivals[-1] if arrivals else now + 1, self.paced[0][0] if self.paced else now + 1)
            for descriptor, _ in self.poll.poll(max(0.0, due - time.monotonic())):
                self.step(self.nodes[descriptor])
        return time.monotonic() - begin

    def connect(self, node: Node) -> None:
        client = node.client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        node.head, node.length, node.got, node.began = None, 0, 0, time.monotonic()
        error = client.connect_ex(self.address)
        if error not in (0, errno.EINPROGRESS):
            self.fail(node, errno.errorcode[error])
            return
        self.nodes[client.fileno()] = node
        self.poll.register(client.fileno(), select.EPOLLOUT)

    def step(self, node: Node) -> None:
        try:
            if node.head is None:
                self.send(node)
            elif node.length == 0:
                self.read_head(node)
            else:
                self.read(node, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(node, error.strerror or str(error))

    def send(self, node: Node) -> None:
        assert node.client is not None
        error = node.client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, errno.errorcode[error])
        node.client.send(f"GET {node.path} HTTP/1.1\r\nHost: boot\r\nConnection: close\r\n\r\n".encode())
        node.head = b""
        self.poll.modify(node.client.fileno(), select.EPOLLIN)

    def read_head(self, node: Node) -> None:
        assert node.client is not None
        assert node.head is not None
        part = node.client.recv(4096)
        if not part:
            raise OSError(0, "closed before the response")
        node.head += part
        header, end, body = node.head.partition(b"\r\n\r\n")
        if not end:
            return
        lines = header.split(b"\r\n")
        if b" 200 " not in lines[0]:
            raise OSError(0, lines[0].decode("latin-1"))
        fields = (line.partition(b":") for line in lines)
        node.length = next(int(value) for name, _, value in fields if name.lower() == b"content-length")
        node.got = len(body)
        if node.path == self.file and self.rate:
            node.body_began = time.monotonic()
            self.poll.unregister(node.client.fileno())
            heapq.heappush(self.paced, (node.body_began, node.client.fileno()))
        self.finish_if_whole(node)

    def read_paced(self, descriptor: int, now: float) -> None:
        node = self.nodes[descriptor]
        due = min(node.length, int((now - node.body_began) * self.rate)) - node.got
        try:
            self.read(node, due) if due > 0 else None
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(node, error.strerror or str(error))
            return
        if node.client is not None and node.client.fileno() == descriptor:
            heapq.heappush(self.paced, (now + TICK_SECONDS, descriptor))

    def read(self, node: Node, count: int) -> None:
        assert node.client is not None
        got = node.client.recv_into(SINK, min(count, CHUNK), socket.MSG_TRUNC)
        if not got:
            raise OSError(0, "closed during the body")
        node.got += got
        self.finish_if_whole(node)

    def finish_if_whole(self, node: Node) -> None:
        if node.got < node.length:
            return
        self.close(node)
        if node.path == self.file:
            self.booted += 1
            return
        self.scripts.append(time.monotonic() - node.began)
        node.path = self.file
        self.connect(node)

    def fail(self, node: Node, reason: str) -> None:
        self.failures[f"{node.path}: {reason}"] += 1
        self.close(node)

    def close(self, node: Node) -> None:
        assert node.client is not None
        self.nodes.pop(node.client.fileno(), None)
        node.client.close()
        node.client = None


def main(host: str, port: str, script: str, file: str, nodes: str, rate: str, arrival: str) -> None:
    storm = Storm((host, int(port)), script, file, rate=float(rate))
    seconds = storm.run(int(nodes), float(arrival))
    times = sorted(storm.scripts) or [float("inf")]
    found = {
        "seconds": seconds,
        "failures": storm.failures,
        "p50": times[len(times) // 2],
        "p99": times[int(len(times) * 0.99)],
        "cpu": time.process_time(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
