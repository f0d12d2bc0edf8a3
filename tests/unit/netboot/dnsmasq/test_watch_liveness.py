"""Is dnsmasq alive: what is asked, what counts as a sign of life, and when it hangs.

Time is the loop's own.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from ectools import log
from ectools.netboot.dnsmasq import liveness
from ectools.netboot.dnsmasq.liveness import (
    NO_FILE,
    WatchedProcess,
    ask_dnsmasq,
    build_end,
    build_request,
    watch_liveness,
)

LOCALHOST = IPv4Address("127.0.0.1")
WATCHED = WatchedProcess(
    pid=7, address=LOCALHOST, directory=Path("/srv/tftp"), files=("a.efi",), max_transfers=40
)


# What is said


def test_packets() -> None:
    assert build_request("a.efi") == b"\0\x01a.efi\0octet\0tsize\x000\0"
    # RFC 2347: error 8 says that the transfer is ended because of its options.
    assert build_end()[:4] == b"\0\x05\0\x08"
    assert build_end().endswith(b"\0")


async def ask(answer: bytes | None) -> tuple[bool, list[bytes]]:
    """Whether a server that answers so is alive, and what it heard."""
    heard: list[bytes] = []

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            heard.append(data)
            if data[:2] == b"\0\1" and answer is not None:
                self.transport.sendto(answer, addr)
                self.transport.sendto(answer, addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        alive = await ask_dnsmasq(LOCALHOST, "a.efi", seconds=0.05 if answer is None else 30.0, port=port)
        if answer is not None and answer[1] != 5:
            async with asyncio.timeout(30):
                while len(heard) < 2:  # noqa: ASYNC110 - the server is a callback
                    await asyncio.sleep(0.001)
        return alive, heard
    finally:
        transport.close()


@pytest.mark.parametrize("answer", [b"\0\x06tsize\x009\0", b"\0\3\0\1data", b"x"])
def test_any_answer_is_a_sign_of_life_and_ends_the_transfer(answer: bytes) -> None:
    alive, heard = asyncio.run(ask(answer + bytes(2)))
    assert alive
    assert heard[:2] == [build_request("a.efi"), build_end()]


def test_an_error_is_an_answer_that_ends_by_itself() -> None:
    assert asyncio.run(ask(b"\0\5\0\1file not found\0")) == (True, [build_request("a.efi")])


def test_silence() -> None:
    assert asyncio.run(ask(None)) == (False, [build_request("a.efi")])


def test_the_port_is_tftps(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    class Transport:
        def sendto(self, data: bytes, address: Any) -> None:
            sent.append(address)

        def close(self) -> None:
            sent.append("closed")

    async def scenario() -> None:
        async def make(factory: Callable[[], Any], *, local_addr: Any) -> Any:
            sent.append(local_addr)
            factory()
            return Transport(), None

        monkeypatch.setattr(asyncio.get_running_loop(), "create_datagram_endpoint", make)
        assert not await ask_dnsmasq(IPv4Address("192.0.2.10"), "a", seconds=0.0)

    asyncio.run(scenario())
    assert sent == [("192.0.2.10", 0), ("192.0.2.10", 69), "closed"]


# The watch


class World:
    """What the questions come to, one after the other, and what the kernel tells of the process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stream = io.StringIO()
        self.answers: list[bool | OSError] = []
        self.seconds_between = 0.0
        self.full = False
        self.sleeps: Iterator[int | None] = iter(int, 1)
        self.asked: list[tuple[IPv4Address, str, float]] = []
        self.signs = 0
        self.now = 0.0
        self.watched = WATCHED
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(liveness, "ask_dnsmasq", self._ask)
        monkeypatch.setattr(liveness, "_is_full", lambda watched: self.full and watched == self.watched)
        monkeypatch.setattr(liveness, "_count_sleeps", lambda pid: next(self.sleeps) if pid == 7 else None)

    async def _ask(self, address: IPv4Address, name: str, *, seconds: float) -> bool:
        self.asked.append((address, name, seconds))
        self.now += self.seconds_between
        if not self.answers:
            raise asyncio.CancelledError
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def _answered(self) -> None:
        self.signs += 1

    def watch(self, *answers: bool | OSError) -> str | None:
        """How it hangs; None where the answers are used up before."""
        self.answers = list(answers)

        async def scenario() -> str | None:
            loop = asyncio.get_running_loop()
            self._monkeypatch.setattr(loop, "time", lambda: self.now)
            log.set_up(json_lines=True, stream=self.stream)
            try:
                return await watch_liveness(
                    self.watched, answered=self._answered, pause_seconds=0, answer_seconds=3.5
                )
            except asyncio.CancelledError:
                return None

        try:
            return asyncio.run(scenario())
        finally:
            log.set_up()

    def told(self) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [{key: value for key, value in entry.items() if key != "time"} for entry in entries]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_one_that_answers_is_asked_on_and_on(world: World) -> None:
    assert world.watch(True, True, True) is None
    assert (world.signs, world.told()) == (3, [])
    assert world.asked[0] == (LOCALHOST, NO_FILE, 3.5)
    assert len(world.asked) == 4


def test_one_that_is_silent_twice_in_a_row_hangs(world: World) -> None:
    assert world.watch(False, False, True) == "it did not answer over TFTP, 2 times in a row"
    assert world.signs == 0
    assert world.told() == [
        {"level": "warning", "event": "dnsmasq does not answer over TFTP", "seconds": 3.5}
    ]


def test_an_answer_between_begins_the_count_anew(world: World) -> None:
    assert world.watch(False, True, False, True) is None
    assert world.signs == 2
    assert world.watch(False, True, False, False) is not None


def test_a_question_that_cannot_be_asked_says_nothing(world: World) -> None:
    none_left = OSError(24, "Too many open files")
    assert world.watch(False, none_left, True) is None
    assert world.told()[1] == {
        "level": "warning",
        "event": "dnsmasq cannot be asked whether it is there",
        "reason": "Too many open files",
    }
    # Nor does it begin the count anew.
    assert world.watch(False, none_left, False) is not None
    assert world.watch(OSError("odd")) is None
    assert world.told()[-1]["reason"] == "odd"


def test_a_full_one_that_still_sleeps_and_wakes_is_alive(world: World) -> None:
    world.full = True
    world.sleeps = iter(range(100))
    assert world.watch(False, False, False) is None
    assert world.signs == 3
    # What TFTP has on its hands is another's to tell.
    assert world.told() == []


def test_a_full_one_begins_the_count_anew(world: World) -> None:
    world.full = True
    # Before and after each question: it stands still, it sleeps, it stands still, and again.
    world.sleeps = iter([1, 1, 1, 2, 2, 2, 2, 2])
    assert world.watch(False, False, False, False) == "it did not answer over TFTP, 2 times in a row"
    assert len(world.asked) == 4


def test_a_full_one_that_stands_still_hangs(world: World) -> None:
    world.full = True
    world.sleeps = iter([5] * 100)
    assert world.watch(False, False) is not None


def test_one_that_sleeps_and_is_not_full_hangs(world: World) -> None:
    world.sleeps = iter(range(100))
    assert world.watch(False, False) is not None


def test_the_file_that_is_asked_for_is_the_first_that_is_there(world: World, tmp_path: Path) -> None:
    (tmp_path / "b.efi").write_bytes(b"x")
    (tmp_path / "c.efi").write_bytes(b"x")
    (tmp_path / "d").mkdir()
    world.watched = replace(WATCHED, directory=tmp_path, files=("a.efi", "d", "b.efi", "c.efi"))
    world.watch(True)
    assert world.asked[0][1] == "b.efi"


def test_the_defaults_of_the_watch() -> None:
    assert (liveness.ASK_PAUSE_SECONDS, liveness.ANSWER_SECONDS) == (10.0, 5.0)


# The kernel's word


def test_how_often_a_process_has_slept() -> None:
    before = liveness._count_sleeps(os.getpid())
    assert before is not None

    def wait() -> None:
        left, right = socket.socketpair()
        with left, right:
            left.settimeout(0.001)
            with pytest.raises(TimeoutError):
                left.recv(1)

    wait()
    after = liveness._count_sleeps(os.getpid())
    assert after is not None
    assert after > before


def test_what_is_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: dict[str, str] = {
        "/proc/7/status": "Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t34\n",
        "/proc/8/status": "nonvoluntary_ctxt_switches:\t34\n",
    }

    def read(path: Path) -> str:
        if str(path) not in texts:
            raise ProcessLookupError
        return texts[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert [liveness._count_sleeps(pid) for pid in (7, 8, 9)] == [12, None, None]


@pytest.mark.parametrize(("opened", "full"), [(23, False), (24, True), (25, True)])
def test_whether_all_transfers_are_taken(monkeypatch: pytest.MonkeyPatch, opened: int, full: bool) -> None:
    def list_descriptors(path: Path) -> Iterator[Path]:
        assert str(path) == "/proc/7/fd"
        return iter([Path(str(number)) for number in range(opened)])

    monkeypatch.setattr(Path, "iterdir", list_descriptors)
    assert liveness._is_full(WATCHED) is full


def test_a_process_that_is_gone_is_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> Iterator[Path]:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "iterdir", fail)
    assert not liveness._is_full(replace(WATCHED, max_transfers=0))
