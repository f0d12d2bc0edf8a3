"""The server on a clock that stands still: accepting, deadlines, answers, upkeep."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
from typing import TYPE_CHECKING

import pytest
from support.http_house import House, receive, run, until
from support.still_loop import advance, turns

from ectools.netboot.http.admission import Loss, Standing
from ectools.netboot.http.connection import Connection
from ectools.netboot.http.sendfile import Abort

if TYPE_CHECKING:
    from pathlib import Path

    from support.log_lines import LogLines


# --- Accepting


def test_a_crowd_is_taken_in_a_few_at_a_time(root: Path) -> None:
    async def scenario(house: House) -> None:
        house.connect(40)
        house.server.start()
        counts = []
        while house.server.admission.accepted < 40:
            await asyncio.sleep(0)
            counts.append(house.server.admission.accepted)
        assert [count for count in dict.fromkeys(counts) if count] == [16, 32, 40]

    run(root, scenario, start=False)


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError(), ConnectionAbortedError()])
def test_a_connection_that_is_gone_before_it_is_accepted_is_nothing(
    root: Path, error: OSError, log_lines: LogLines
) -> None:
    async def scenario(house: House) -> None:
        house.listener.errors = [error]
        house.connect()
        await until(lambda: len(house.server.admission) == 1)

    run(root, scenario)
    assert log_lines.having("cannot be accepted") == []


def test_without_descriptors_the_server_waits_a_while_and_accepts_again(
    root: Path, log_lines: LogLines
) -> None:
    async def scenario(house: House) -> None:
        house.listener.errors = [OSError(errno.EMFILE, "Too many open files")]
        house.connect()
        await turns()
        assert house.server.admission.accepted == 0
        (line,) = log_lines.having("connections cannot be accepted")
        assert (line["level"], line["reason"]) == ("error", "Too many open files")
        await advance(0.4)
        assert house.server.admission.accepted == 0
        await advance(0.6)  # the turn of the upkeep
        await until(lambda: house.server.admission.accepted == 1)
        assert house.server.faults() == 0

    run(root, scenario)


def test_a_server_that_drains_does_not_accept_again(root: Path) -> None:
    async def scenario(house: House) -> None:
        house.listener.errors = [OSError(errno.EMFILE, "Too many open files")]
        house.connect()
        await turns()
        assert await house.server.drain() == 0
        await advance(2)
        assert house.server.faults() == 0

    run(root, scenario)


def test_who_has_no_place_is_closed_at_once(root: Path) -> None:
    async def scenario(house: House) -> None:
        clients = house.connect(9)  # the ninth stranger of one address
        await until(lambda: house.server.admission.accepted == 9)
        assert await receive(clients[8]) == b""
        assert len(house.server.admission.lobby) == 8

    run(root, scenario, classify=lambda _: Standing.STRANGER)


def test_who_waits_in_the_lobby_has_little_time(root: Path) -> None:
    async def scenario(house: House) -> None:
        (client,) = house.connect()
        await until(lambda: len(house.server.admission) == 1)
        await advance(1.9)
        assert len(house.server.admission) == 1
        await advance(0.2)
        assert await receive(client) == b""
        assert len(house.server.admission) == 0

    run(root, scenario, classify=lambda _: Standing.STRANGER)


@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_a_header_has_its_time_from_the_beginning(root: Path, seconds: float) -> None:
    async def scenario(house: House) -> None:
        client = await house.ask("/", client=house.connect()[0], more="X: y")  # no end
        await advance(seconds - 0.1)
        client.send(b"z")
        await turns()
        assert len(house.server.admission.slots) == 1
        await advance(0.1)
        assert (await receive(client)).startswith(b"HTTP/1.1 408 ")

    run(root, scenario, header_seconds=seconds)


@pytest.mark.parametrize(("crowd", "at_once"), [(40, 16), (288, 18)])
def test_a_crowds_deadlines_are_enforced_a_few_at_a_time(root: Path, crowd: int, at_once: int) -> None:
    async def scenario(house: House) -> None:
        house.connect(crowd)
        await until(lambda: len(house.server.admission) == crowd)
        await turns(50)
        await advance(10)
        assert len(house.server.admission) == crowd - at_once
        await advance(0.05)
        left = crowd - at_once
        assert len(house.server.admission) == left - max(16, left // 16)

    run(root, scenario)


# --- Answering


def test_answers_and_bytes_are_counted(root: Path) -> None:
    async def scenario(house: House) -> None:
        answer = await house.get("/netboot.ipxe")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection: close" not in answer
        await house.get("/none")
        assert house.server.answers == {200: 1, 404: 1}
        assert house.server.sent_bytes == 7 + len(b"not found\n")
        assert house.server.admission.accepted == 2
        assert dict(house.server.describe()) == {
            "connections": 2,
            "max_connections": 100,
            "turned_away": {"overload": 0, "stranger": 0, "resting": 0, "slow": 0, "share": 0},
            "faults": 0,
        }

    run(root, scenario, max_connections=100)


def test_after_a_body_the_connection_ends(root: Path) -> None:
    async def scenario(house: House) -> None:
        answer = await house.get("/netboot.ipxe", more="Content-Length: 5\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in answer

    run(root, scenario)


def test_who_has_no_slot_is_answered_and_let_go(root: Path) -> None:
    async def scenario(house: House) -> None:
        answer = await house.get("/netboot.ipxe")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert re.search(rb"\r\nRetry-After: ([5-9]|10)\r\n", answer)
        health = await house.get("/healthz")
        assert health.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in health

    run(root, scenario, classify=lambda _: Standing.STRANGER)


def test_a_request_whose_client_has_gone_is_answered_to_nobody(root: Path) -> None:
    class Request:
        transport = None

    async def scenario(house: House) -> None:
        reply = await house.server._handle(Request())  # type: ignore[arg-type]
        assert (reply.status, reply.aborted) == (408, Abort.CLIENT_GONE)
        assert house.server.answers == {}

    run(root, scenario)


def test_a_fault_while_sending_drops_the_connection_and_is_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async def scenario(house: House) -> None:
        monkeypatch.setattr("ectools.netboot.http.responses.MemoryReply.send", fail)
        client = await house.ask("/netboot.ipxe")
        with contextlib.suppress(ConnectionResetError):
            assert await receive(client) == b""
        await turns()
        assert house.server.faults() == 1
        assert house.server.answers == {200: 1}
        assert len(house.server.admission) == 0

    run(root, scenario)


def test_every_kind_of_fault_is_counted(root: Path) -> None:
    async def scenario(house: House) -> None:
        server = house.server
        guards = (
            server._guard,
            server._requests_guard,
            server._scheduler.guard,
            server._deadlines.guard,
            server._upkeep.guard,
        )
        for number, guard in enumerate(guards):
            guard.failures += 10**number
        assert server.faults() == 11111
        server.other_guards.append(guards[0])
        assert server.faults() == 11112
        assert server.describe()["faults"] == 11112

    run(root, scenario)


# --- Upkeep


def test_a_client_that_takes_nothing_is_dropped_after_a_while(root: Path) -> None:
    async def scenario(house: House) -> None:
        await house.ask("/initrd")
        await until(lambda: bool(house.server._scheduler._transfers))
        (transfer,) = house.server._scheduler._transfers.values()
        await until(lambda: transfer.watched)
        for _ in range(9):  # the first look says that it has taken something
            await advance(1)
        assert len(house.server.admission) == 1
        for _ in range(12):
            await advance(1)
        assert len(house.server.admission) == 0
        assert house.server.answers == {200: 1}

    run(root, scenario, stall_seconds=8)


@pytest.mark.parametrize(("stall", "period"), [(60, 1.0), (4, 1.0), (2, 0.5)])
def test_how_often_is_looked(root: Path, stall: float, period: float) -> None:
    looks: list[float] = []

    async def scenario(house: House) -> None:
        house.server._scheduler.stop_stalled = looks.append  # type: ignore[method-assign]
        house.server.start()
        for expected in (1, 2, 3):
            assert looks == [stall] * expected
            await advance(period * 0.9)
            assert looks == [stall] * expected
            await advance(period * 0.1 + 1e-6)

    run(root, scenario, start=False, stall_seconds=stall)


def test_who_sends_nothing_hurries_nobody_for_long(root: Path) -> None:
    async def scenario(house: House) -> None:
        (silent,) = house.connect()
        await until(lambda: len(house.server._scheduler.waiting) == 1)
        await advance(1)
        assert len(house.server._scheduler.waiting) == 0
        assert len(house.server.admission) == 1
        assert silent

    run(root, scenario)


def test_who_is_slow_makes_room_while_slots_are_short(root: Path) -> None:
    async def scenario(house: House) -> None:
        clients = [await house.ask("/initrd") for _ in range(2)]
        await until(lambda: len(house.server._scheduler._transfers) == 2)
        await until(lambda: all(each.watched for each in house.server._scheduler._transfers.values()))
        for _ in range(23):  # ten seconds until it is measured, and ten that are measured
            await advance(1)
        (newcomer,) = house.connect()
        await until(lambda: house.server.admission.accepted == 3)
        assert house.server.admission.losses == {Loss.SLOW: 1}
        assert len(clients) == 2
        assert newcomer

    run(root, scenario, max_connections=2)


def test_nobody_is_slow_while_there_are_slots(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked: list[tuple[float, ...]] = []
    monkeypatch.setattr(Connection, "mark_slow", lambda _, *arguments: marked.append(arguments))

    async def scenario(house: House) -> None:
        house.connect(6)
        await until(lambda: len(house.server.admission) == 6)
        await advance(1)
        assert marked == []
        house.connect(1)
        await until(lambda: len(house.server.admission) == 7)
        await advance(1)
        now = asyncio.get_running_loop().time()
        assert marked == [(now, 10.0, 32768)] * 7

    run(root, scenario, max_connections=8)


def test_who_was_turned_away_is_told_by_the_upkeep(root: Path, log_lines: LogLines) -> None:
    async def scenario(house: House) -> None:
        house.connect()
        await until(lambda: house.server.admission.accepted == 1)
        await advance(1)
        assert [line["count"] for line in log_lines.having("turned away")] == [1]

    run(root, scenario, classify=lambda _: Standing.STRANGER)


def test_a_fault_at_one_connection_drops_that_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async def scenario(house: House) -> None:
        house.connect()
        await until(lambda: len(house.server.admission) == 1)
        await turns(50)
        monkeypatch.setattr(Connection, "mark_slow", fail)
        await advance(1)
        await turns()
        assert house.server.faults() == 1
        assert len(house.server.admission) == 0

    run(root, scenario, max_connections=1)


def test_which_timer_is_late(root: Path) -> None:
    async def scenario(house: House) -> None:
        for timer, name in (
            (house.server._upkeep, "upkeep of connections"),
            (house.server._deadlines, "deadlines of connections"),
        ):
            timer.stop()
            assert await house.server.check_itself() == f"late: {name}"

    run(root, scenario)
