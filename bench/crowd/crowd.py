"""The crowd, and those who want something meanwhile. Two processes, each on its own.

    crowd.py KIND HOST PORT COUNT ADDRESSES         COUNT connections from so many addresses, until standard
                                                    input ends; "ready" once each was made, or turned away
    crowd.py hang-up HOST PORT COUNT SECONDS        half a header each, and gone around the moment of its 408
    crowd.py others HOST PORT PATH SECONDS RATE     so many requests a second, each on a new connection from
                                                    one of 200 other addresses; prints one JSON object

KIND: half-open (half a header), idle (not a byte), kept-alive (a request, and then nothing), slow-reading (a
download at 1 KB/s), slow-sending (a header at a byte a second). Whoever is cut off comes again after about a
second. Addresses are of 127.0.0.0/8, so that Linux needs no setup.
"""

from __future__ import annotations

import errno
import heapq
import json
import random
import select
import socket
import sys
import time

KINDS = ("half-open", "idle", "kept-alive", "slow-reading", "slow-sending")
COME_AGAIN_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
HEADER = b"GET /netboot.ipxe HTTP/1.1\r\nHost: boot\r\nX-Crowd: "
DOWNLOAD = b"GET /initrd HTTP/1.1\r\nHost: boot\r\n\r\n"
SCRIPT = b"GET /netboot.ipxe HTTP/1.1\r\nHost: boot\r\n\r\n"


class Member:
    """One of the crowd: its address, its connection, and when it acts next."""

    def __init__(self, kind: str, address: str) -> None:
        self.kind = kind
        self.address = address
        self.socket: socket.socket | None = None
        self.connected = False

    def connect(self, host: str, port: int) -> socket.socket:
        connection = self.socket = socket.socket()
        if self.kind == "slow-reading":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        connection.bind((self.address, 0))
        self.connected = False
        if connection.connect_ex((host, port)) not in (0, errno.EINPROGRESS):
            raise ConnectionError
        return connection

    def begin(self) -> None:
        """What it says first."""
        assert self.socket
        first = {"slow-reading": DOWNLOAD, "kept-alive": SCRIPT, "idle": b""}.get(self.kind, HEADER)
        if first:
            self.socket.send(first)

    def act(self) -> float | None:
        """What it does now and then; seconds until the next time."""
        assert self.socket
        if self.kind == "slow-sending":
            self.socket.send(b"x")
        elif self.kind == "slow-reading":
            if not self.socket.recv(1024):
                raise ConnectionError
        else:
            return None
        return 1.0


class Crowd:
    def __init__(self, kind: str, host: str, port: int, count: int, addresses: int) -> None:
        self.host, self.port = host, port
        self.members = [Member(kind, f"127.0.1.{1 + number % addresses}") for number in range(count)]
        self.poll = select.epoll()
        self.by_descriptor: dict[int, Member] = {}
        self.due: list[tuple[float, int, Member, socket.socket | None]] = []
        self.tried = 0
        self.cut_off = 0
        self.number = 0

    def plan(self, member: Member, seconds: float) -> None:
        self.number += 1
        heapq.heappush(self.due, (time.monotonic() + seconds, self.number, member, member.socket))

    def drop(self, member: Member) -> None:
        if member.socket is not None:
            self.by_descriptor.pop(member.socket.fileno(), None)
            member.socket.close()
            member.socket = None
            self.cut_off += 1
        self.plan(member, random.uniform(0.5, 1.5) * COME_AGAIN_SECONDS)

    def turn(self, member: Member) -> None:
        try:
            if member.socket is None:
                self.tried += 1
                connection = member.connect(self.host, self.port)
                self.by_descriptor[connection.fileno()] = member
                self.poll.register(connection, select.EPOLLOUT | select.EPOLLRDHUP)
            elif member.connected and (seconds := member.act()) is not None:
                self.plan(member, seconds)
        except BlockingIOError:
            self.plan(member, 1.0)
        except OSError:
            self.drop(member)

    def hear(self, descriptor: int, events: int) -> None:
        member = self.by_descriptor.get(descriptor)
        if member is None or member.socket is None:
            return
        try:
            if events & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
                raise ConnectionError
            if not member.connected:
                member.connected = True
                member.begin()
                # A reader's own pace decides what it reads; the others throw away what they get.
                wanted = 0 if member.kind == "slow-reading" else select.EPOLLIN
                self.poll.modify(descriptor, wanted | select.EPOLLRDHUP)
                self.plan(member, 1.0)
            elif events & select.EPOLLIN and not member.socket.recv(65536):
                raise ConnectionError
        except BlockingIOError:
            pass
        except OSError:
            self.drop(member)

    def run(self) -> None:
        for number, member in enumerate(self.members):
            self.plan(member, number / 4000)
        self.poll.register(sys.stdin.fileno(), select.EPOLLIN)
        told = False
        while True:
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                _, _, member, planned_for = heapq.heappop(self.due)
                if member.socket is planned_for:  # not what was planned for a connection that is gone
                    self.turn(member)
            if not told and self.tried >= len(self.members):
                told = True
                print("ready", flush=True)
            wait = min(max(0.0, self.due[0][0] - time.monotonic()), 0.2) if self.due else 0.2
            for descriptor, events in self.poll.poll(wait):
                if descriptor == sys.stdin.fileno():
                    held = sum(member.connected for member in self.by_descriptor.values())
                    print(json.dumps({"held": held, "cut_off": self.cut_off}), flush=True)
                    return
                self.hear(descriptor, events)


def hang_up(host: str, port: int, count: int, header_seconds: float) -> None:
    """Half a header each, and gone when its 408 is about to come: at moments all around that one."""
    clients = []
    for _ in range(count):
        client = socket.socket()
        client.bind(("127.0.1.1", 0))
        client.connect((host, port))
        client.sendall(HEADER)
        clients.append(client)
    begin = time.monotonic() + header_seconds - 1.0
    for number, client in enumerate(clients):
        time.sleep(max(0.0, begin + number * 3.0 / count - time.monotonic()))
        # An RST, not a FIN: what is written afterwards fails at once.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()


class Others:
    """Requests at a steady rate, whether those before have been answered or not."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self.host, self.port = host, port
        self.request = f"GET {path} HTTP/1.1\r\nHost: boot\r\nConnection: close\r\n\r\n".encode()
        self.poll = select.epoll()
        self.open: dict[int, tuple[socket.socket, float, bytearray]] = {}
        self.asked = 0
        self.seconds: list[float] = []
        self.failures: dict[str, int] = {}

    def ask(self) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.bind((f"127.0.2.{1 + self.asked % 200}", 0))
        self.asked += 1
        client.connect_ex((self.host, self.port))
        self.open[client.fileno()] = (client, time.monotonic(), bytearray())
        self.poll.register(client, select.EPOLLOUT)

    def end(self, descriptor: int, failure: str | None) -> None:
        client, begun, _ = self.open.pop(descriptor)
        client.close()
        if failure is None:
            self.seconds.append(time.monotonic() - begun)
        else:
            self.failures[failure] = self.failures.get(failure, 0) + 1

    def hear(self, descriptor: int, events: int) -> None:
        client, _, got = self.open[descriptor]
        try:
            if events & select.EPOLLOUT and not got:
                client.send(self.request)
                self.poll.modify(descriptor, select.EPOLLIN)
                return
            data = client.recv(65536)
        except OSError as error:
            self.end(descriptor, errno.errorcode.get(error.errno or 0, "error"))
            return
        got += data
        if not data:
            status = bytes(got[9:12]).decode("latin-1")
            self.end(descriptor, None if status == "200" else status or "closed")

    def run(self, seconds: float, rate: float) -> None:
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + seconds or self.open:
            while now < begin + seconds and self.asked < (now - begin) * rate:
                self.ask()
            late = [each for each, (_, begun, _) in self.open.items() if now - begun > PATIENCE_SECONDS]
            for descriptor in late:
                self.end(descriptor, "no answer")
            for descriptor, events in self.poll.poll(0.5 / rate):
                self.hear(descriptor, events)
        self.seconds.sort()
        answered = len(self.seconds)

        def at(share: float) -> float | None:
            return self.seconds[int(answered * share)] if answered else None

        figures = {"asked": self.asked, "answered": answered, "p50": at(0.5), "p99": at(0.99)}
        print(json.dumps({**figures, "failures": self.failures}), flush=True)


def main(kind: str, host: str, port: str, *arguments: str) -> None:
    if kind == "others":
        path, seconds, rate = arguments
        Others(host, int(port), path).run(float(seconds), float(rate))
    elif kind == "hang-up":
        hang_up(host, int(port), int(arguments[0]), float(arguments[1]))
    else:
        Crowd(kind, host, int(port), int(arguments[0]), int(arguments[1])).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
