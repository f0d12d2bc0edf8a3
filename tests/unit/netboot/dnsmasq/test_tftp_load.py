"""The load of TFTP: the kernel's list of sockets, real and made up, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from support.virtual_time import run_virtually

from ectools import log
from ectools.netboot.dnsmasq import tftp_load
from ectools.netboot.dnsmasq.tftp_load import SocketLoad, TftpFigures, TftpWatch, read_socket_load

ADDRESS = IPv4Address("192.0.2.10")
HEAD = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
FIGURES = TftpFigures(transfers=1, max_transfers=2, sent=3, dropped=4, refused=None, lines_lost=5)


def list_sockets(*sockets: tuple[str, int, int]) -> str:
    """As /proc/net/udp has them: address in hexadecimal, port, drops."""
    line = "  7: {}:{:04X} 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 9 2 0 {}"
    return "\n".join([HEAD, *(line.format(*each) for each in sockets)]) + "\n"


def test_transfers_and_drops_are_those_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other, every = "0A0200C0", "0B0200C0", "00000000"
    listed = list_sockets(
        (own, 69, 7), (other, 69, 100), (every, 67, 100), (own, 4011, 100), (every, 40000, 1),
        (own, 40000, 3), (own, 4096, 0), (other, 40001, 0),
    )  # fmt: skip
    monkeypatch.setattr(tftp_load.Path, "read_text", lambda self: listed if "/9/" in str(self) else "")
    assert read_socket_load(9, ADDRESS) == SocketLoad(transfers=2, dropped=7)


def test_the_kernel_lists_sockets_like_that() -> None:
    """Of a socket that nobody reads, what does not fit is dropped, and counted."""
    with contextlib.ExitStack() as stack:
        deaf, sender = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in "ab")
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.bind(("127.0.0.33", 0))
        before = read_socket_load(os.getpid(), IPv4Address("127.0.0.33"))
        for _ in range(50):
            sender.sendto(bytes(1000), deaf.getsockname())
        (line,) = (
            each
            for each in Path("/proc/net/udp").read_text().splitlines()
            if f"2100007F:{deaf.getsockname()[1]:04X}" in each
        )
        assert before == SocketLoad(transfers=1, dropped=0)
        assert 0 < int(line.split()[-1]) <= 50


def test_a_process_that_is_gone_has_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_text(self: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tftp_load.Path, "read_text", read_text)
    assert read_socket_load(9, ADDRESS) is None


@pytest.mark.parametrize("figures", [FIGURES, replace(FIGURES, refused=6)])
def test_figures_are_read_as_they_were_written(figures: TftpFigures) -> None:
    assert TftpFigures.from_json(json.loads(json.dumps(figures.to_json()))) == figures


@pytest.mark.parametrize(
    "changed",
    [
        {"sent": -1},
        {"sent": None},
        {"sent": True},
        {"sent": 2**63},
        {"sent": "1"},
        {"more": 1},
        {"refused": 1.5},
    ],
)
def test_what_are_no_figures_is_refused(changed: dict[str, Any]) -> None:
    for data in ({**FIGURES.to_json(), **changed}, [], None):
        with pytest.raises(ValueError, match=r"figures|count"):
            TftpFigures.from_json(data)


@dataclass
class World:
    """What each look finds; ``running`` is dnsmasq's process."""

    looks: list[SocketLoad | None]
    stream: io.StringIO
    refused: list[int | None] = field(default_factory=list)
    pids: list[int | None] = field(default_factory=list)

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def run(self) -> TftpFigures:
        """The figures after all looks, five seconds apart."""

        async def main() -> TftpFigures:
            watch = TftpWatch(ADDRESS, count_refused=lambda: self.refused.pop(0) if self.refused else None)
            looks = len(self.looks)
            pids = iter(self.pids)
            task = asyncio.create_task(watch.run(lambda: (next(pids, 7), 40)))
            await asyncio.sleep(5 * looks + 1)
            task.cancel()
            return watch.figures(40)

        return run_virtually(main())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(looks=[], stream=io.StringIO())
    left: list[SocketLoad | None] = []

    def read(pid: int, address: IPv4Address) -> SocketLoad | None:
        assert address == ADDRESS
        left[:] = left or [*world.looks]
        return left.pop(0)

    async def at_once(work: Any, *arguments: Any) -> Any:
        return work(*arguments)

    monkeypatch.setattr(tftp_load, "read_socket_load", read)
    monkeypatch.setattr(tftp_load.asyncio, "to_thread", at_once)
    log.set_up(json_lines=True, stream=world.stream)
    yield world
    log.set_up()


def loads(*dropped: int, transfers: int = 3) -> list[SocketLoad | None]:
    return [SocketLoad(transfers=transfers, dropped=each) for each in dropped]


def test_drops_are_counted_over_restarts_and_told_once_a_minute(world: World) -> None:
    world.looks = loads(2, 5, 5, 1, *[1] * 8, 4)
    world.pids = [7, 7, 7, *[8] * 10]
    assert world.run() == TftpFigures(transfers=3, max_transfers=40, dropped=5 + 4)
    told = [(each["level"], each["event"], each["requests"]) for each in world.told()]
    event = "TFTP requests were dropped: they did not fit into the socket's buffer"
    assert told == [("warning", event, 2), ("warning", event, 7)]
    assert "net.core.rmem_default" in world.told()[0]["hint"]


def test_who_was_refused_is_counted_once_a_minute(world: World) -> None:
    world.looks = loads(*[0] * 26)
    world.refused = [0, 7, 3, 100]
    assert world.run().refused == 10
    assert [(each["event"], each["requests"]) for each in world.told()] == [
        ("TFTP turned away who has his share of the transfers", 7),
        ("TFTP turned away who has his share of the transfers", 3),
    ]


def test_that_all_are_taken_is_told(world: World) -> None:
    world.looks = [*loads(0, transfers=39), *loads(0, 0, transfers=40), *loads(0, transfers=2)]
    assert world.run().transfers == 2
    (told,) = world.told()
    assert told["event"] == "all TFTP transfers are taken: further clients wait until one ends"
    assert (told["level"], told["transfers"]) == ("warning", 40)
    assert "tftp.maxTransfers" in told["hint"]


def test_one_that_is_gone_has_no_transfers_and_nothing_is_told(world: World) -> None:
    world.looks = [*loads(0), None, *loads(0)]
    world.pids = [7, 7, None]
    assert world.run() == TftpFigures(transfers=0, max_transfers=40)
    assert world.told() == []
