"""The clients: machines that ask for their script, nodes that report, and who looks at the figures.

    asks.py scripts COUNT NAME=HOST:PORT:MACHINES:PID,PID…   COUNT from each, one after the other, and a few
                                                 from each in turn; MACHINES 0: without saying who asks
    asks.py boots HOST PORT MACHINES FILE        a script for each machine; its report's path into FILE
    asks.py reports HOST PORT FILE RATE SECONDS  two reports for each line; RATE a second, 0: as it goes
    asks.py get HOST PORT PATH COUNT             one path, again and again on one connection

Each machine has an address of its own and a connection for each request, as nodes have. Prints one JSON
object.
"""

from __future__ import annotations

import errno
import http.client
import json
import random
import re
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from write_fleet import build_mac

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_AT_ONCE = 32
IN_TURN = 10
_REPORT = re.compile(rb"every_channel\.report=(\S+) every_channel\.release=(\S+)")


def build_address(number: int) -> str:
    """The machine's own, of the loopback network."""
    return f"127.{64 + (number >> 16)}.{number >> 8 & 255}.{1 + number % 255}"


def build_path(number: int | None) -> str:
    if number is None:
        return "/netboot.ipxe"
    said = {"mac": build_mac(number), "uuid": "", "serial": f"SN{number:07}", "asset": "", "arch": "x86_64"}
    return f"/netboot.ipxe?{urlencode(said, safe=':')}"


def exchange(
    address: tuple[str, int], path: str, *, source: str | None = None, body: bytes | None = None
) -> bytes:
    """The body of an answer, on a connection of its own."""
    connection = http.client.HTTPConnection(
        *address, timeout=60, source_address=(source, 0) if source else None
    )
    headers = {"Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request("GET" if body is None else "POST", path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status}: {content[:200]!r}")
    return content


def summarize(times: list[float]) -> dict[str, float]:
    times = sorted(times)
    return {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "last": times[-1]}


@dataclass
class Asked:
    """A server of whom scripts are asked, and what it took: seconds each, and those of its processors."""

    address: tuple[str, int]
    machines: int
    processes: list[int]
    times: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def ask(self, numbers: random.Random, count: int) -> None:
        before = self.count_cpu()
        for _ in range(count):
            number = numbers.randrange(self.machines) if self.machines else None
            began = time.perf_counter()
            exchange(self.address, build_path(number), source=build_address(number or 0))
            self.times.append(time.perf_counter() - began)
        self.cpu += self.count_cpu() - before

    def count_cpu(self) -> float:
        # The processor clock of a process (clock_getcpuclockid(3)): to the nanosecond, where /proc has ticks.
        return sum(time.clock_gettime((~each << 3) | 2) for each in self.processes)


def ask_scripts(count: str, *servers: str) -> dict[str, dict[str, float]]:
    """In turns, so that what else the machine does meanwhile is every server's part alike."""
    numbers = random.Random()
    asked = {}
    for each in servers:
        name, _, rest = each.partition("=")
        host, port, machines, processes = rest.split(":")
        pids = [int(process) for process in processes.split(",")]
        asked[name] = Asked(address=(host, int(port)), machines=int(machines), processes=pids)
    for _ in range(int(count) // IN_TURN):
        for name in numbers.sample([*asked], len(asked)):
            asked[name].ask(numbers, IN_TURN)
    return {
        name: {**summarize(each.times), "cpu": each.cpu / len(each.times)} for name, each in asked.items()
    }


def begin_boots(host: str, port: str, machines: str, file: str) -> dict[str, float]:
    lines = []
    for number in range(int(machines)):
        script = exchange((host, int(port)), build_path(number), source=build_address(number))
        found = _REPORT.search(script)
        if found is None:
            sys.exit(f"the script of machine {number} names no report")
        parts = urlsplit(found[1].decode())
        lines.append(f"{number} {parts.path}?{parts.query} {found[2].decode()}\n")
    Path(file).write_text("".join(lines))
    return {"boots": len(lines)}


def get_again(host: str, port: str, path: str, count: str) -> dict[str, float]:
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    times = []
    size = 0
    for _ in range(int(count)):
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        size = len(answer.read())
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status}")
        times.append(time.perf_counter() - began)
    return {**summarize(times), "bytes": size}


class Reports:
    """Reports under way, so many at a time; each is begun when its time has come."""

    def __init__(self, address: tuple[str, int], requests: list[tuple[int, bytes]], rate: float) -> None:
        self.address = address
        self.requests = requests[::-1]
        self.rate = rate
        self.poll = select.epoll()
        self.open: dict[int, tuple[socket.socket, bytes]] = {}
        self.answers: Counter[str] = Counter()

    def run(self, seconds: float) -> dict[str, object]:
        """Until all are answered, or for so long."""
        began = time.monotonic()
        sent = 0
        while (self.requests or self.open) and time.monotonic() < began + seconds:
            due = sent + 1 if not self.rate else int((time.monotonic() - began) * self.rate) + 1
            while self.requests and sent < due and len(self.open) < MOST_AT_ONCE:
                self.begin(*self.requests.pop())
                sent += 1
                due += not self.rate
            for descriptor, _ in self.poll.poll(0.01):
                self.step(descriptor)
        took = time.monotonic() - began
        return {"seconds": took, "answers": self.answers, "a second": self.answers["200"] / took}

    def begin(self, number: int, request: bytes) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT of ip(7)
        client.bind((build_address(number), 0))
        if client.connect_ex(self.address) not in (0, errno.EINPROGRESS):
            sys.exit("no connection")
        self.open[client.fileno()] = (client, request)
        self.poll.register(client.fileno(), select.EPOLLOUT)

    def step(self, descriptor: int) -> None:
        client, request = self.open[descriptor]
        if request:
            client.send(request)
            self.open[descriptor] = (client, b"")
            self.poll.modify(descriptor, select.EPOLLIN)
            return
        answer = client.recv(4096)
        if len(answer) > 12:
            self.answers[answer[9:12].decode()] += 1
        client.close()
        del self.open[descriptor]


def build_reports(file: str) -> list[tuple[int, bytes]]:
    """(machine, request): first that each runs, then that each is up."""
    lines = [line.split() for line in Path(file).read_text().splitlines()]
    found = []
    for stage in ("running", "up"):
        for number, path, release in lines:
            fields = {"stage": stage}
            if stage == "up":
                fields |= {
                    "release": release,
                    "healthy": "yes",
                    "seconds.kernel": "1.5",
                    "clock": "1700000000",
                }
            body = urlencode(fields).encode()
            head = f"POST {path} HTTP/1.1\r\nHost: boot\r\nConnection: close\r\n"
            head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
            found.append((int(number), head.encode() + body))
    return found


def send_reports(host: str, port: str, file: str, rate: str, seconds: str) -> dict[str, object]:
    return Reports((host, int(port)), build_reports(file), float(rate)).run(float(seconds))


if __name__ == "__main__":
    kinds: dict[str, Callable[..., object]] = {
        "scripts": ask_scripts,
        "boots": begin_boots,
        "reports": send_reports,
        "get": get_again,
    }
    print(json.dumps(kinds[sys.argv[1]](*sys.argv[2:])))
