"""QMP against a server on the other end of a socketpair, which says what QEMU was seen to say."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.qmp_server import guest_without_qemu
from support.virtual_time import run_virtually

from ectools.vm.qmp import Qmp, QmpError, _Events

if TYPE_CHECKING:
    from collections.abc import Mapping

GREETING = {
    "QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}
}
SHUTDOWN = {
    "event": "SHUTDOWN",
    "data": {"guest": True, "reason": "guest-shutdown"},
    "timestamp": {"seconds": 1, "microseconds": 2},
}


class Server:
    """Greets, takes the capabilities, then answers each command with the messages of ``answers``."""

    def __init__(self, channel: socket.socket, answers: Mapping[str, list[dict[str, Any]]]) -> None:
        self._channel = channel
        self._answers = answers

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection(sock=self._channel)

        def say(message: dict[str, Any]) -> None:
            writer.write(json.dumps(message).encode() + b"\r\n")

        say(GREETING)
        pending = ""
        while data := await reader.read(4096):
            pending += data.decode()
            try:
                command = json.loads(pending)  # the client ends no line, and waits for each answer
            except ValueError:
                continue
            pending = ""
            for message in self._answers.get(command["execute"], [{"return": {}}]):
                is_event = "event" in message or "id" not in command
                say(message if is_event else {**message, "id": command["id"]})
        writer.close()


async def with_server(answers: Mapping[str, list[dict[str, Any]]], command: str) -> tuple[Any, list[str]]:
    events: list[str] = []
    ours, theirs = socket.socketpair()
    server = asyncio.create_task(Server(theirs, answers).run())
    qmp = Qmp(on_event=lambda name, data: events.append(f"{name} {data.get('reason')}"))
    await qmp.connect(ours, seconds=30)
    try:
        return await qmp.execute(command), events
    finally:
        await qmp.close()
        await server


def test_an_event_may_come_before_the_return() -> None:
    result, events = asyncio.run(
        with_server({"system_powerdown": [SHUTDOWN, {"return": {}}]}, "system_powerdown")
    )
    assert result == {}
    assert events == ["SHUTDOWN guest-shutdown"]


def test_an_error_is_this_toolkits() -> None:
    answer = {"error": {"class": "CommandNotFound", "desc": "The command no-such-command has not been found"}}
    with pytest.raises(QmpError, match="QMP no-such-command: The command no-such-command has not been found"):
        asyncio.run(with_server({"no-such-command": [answer]}, "no-such-command"))


def test_an_end_of_the_connection_is_an_error_and_events_before_it_are_kept() -> None:
    async def scenario() -> list[str]:
        events: list[str] = []
        ours, theirs = socket.socketpair()
        qmp = Qmp(on_event=lambda name, _: events.append(name))
        _, writer = await asyncio.open_connection(sock=theirs)
        writer.write(json.dumps(GREETING).encode() + b"\r\n")
        connecting = asyncio.create_task(qmp.connect(ours, seconds=30))
        await asyncio.sleep(0)
        writer.write(b'{"return": {}}\r\n')
        await connecting
        writer.write(json.dumps(SHUTDOWN).encode() + b"\r\n")
        writer.close()
        await qmp.drain()
        with pytest.raises(QmpError, match="the connection is gone"):
            await qmp.execute("query-status")
        await qmp.close()
        return events

    assert asyncio.run(scenario()) == ["SHUTDOWN"]


def test_a_qemu_that_dies_or_is_silent_does_not_greet() -> None:
    async def connect(*, close: bool, seconds: float) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            if close:
                theirs.close()
            await Qmp(on_event=lambda *_: None).connect(ours, seconds=seconds)

    with pytest.raises(QmpError, match="QEMU did not greet on QMP"):
        asyncio.run(connect(close=True, seconds=30))
    with pytest.raises(QmpError, match=r"within 0\.05 s"):
        asyncio.run(connect(close=False, seconds=0.05))


def test_a_command_has_its_time_and_the_connection_lives_on() -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        lasted = []
        async with guest_without_qemu() as (guest, qemu):
            for seconds in ({}, {"seconds": 3.0}):
                qemu.answering.clear()
                began = loop.time()
                with pytest.raises(QmpError, match=r"QMP query-status: no answer within (20|3) s"):
                    await guest.qmp.execute("query-status", **seconds)
                lasted.append(round(loop.time() - began))
                qemu.answering.set()
                await asyncio.sleep(1)
            assert guest.qmp.connected
            assert (await guest.qmp.execute("query-status"))["status"] == "running"
        return lasted

    assert run_virtually(scenario()) == [20, 3]


def test_arguments_reach_qemu() -> None:
    async def scenario() -> None:
        async with guest_without_qemu() as (guest, _):
            sent: list[object] = []
            execute = guest.qmp._client.execute

            async def note(command: str, arguments: object) -> object:
                sent.append((command, arguments))
                return await execute(command, arguments)

            guest.qmp._client.execute = note
            await guest.qmp.execute("human-monitor-command", {"command-line": "info usernet"})
            assert sent == [("human-monitor-command", {"command-line": "info usernet"})]

    run_virtually(scenario())


def test_an_error_of_qemus_is_cut_at_500_characters() -> None:
    async def scenario() -> str:
        async with guest_without_qemu() as (guest, qemu):
            qemu.errors = {"stop": "x" * 10_000}
            with pytest.raises(QmpError) as caught:
                await guest.qmp.execute("stop")
            return caught.value.message

    assert run_virtually(scenario()) == "QMP stop: " + "x" * 500


def test_a_qemu_that_does_not_read_is_left_after_five_seconds() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        async with guest_without_qemu() as (guest, _):

            async def hang() -> None:
                await asyncio.sleep(3600)

            disconnect, guest.qmp._client.disconnect = guest.qmp._client.disconnect, hang
            began = loop.time()
            await guest.qmp.close()
            lasted = loop.time() - began
            guest.qmp._client.disconnect = disconnect
        return round(lasted)

    assert run_virtually(scenario()) == 5


def test_an_event_without_an_object_has_no_data() -> None:
    async def scenario() -> list[object]:
        events: list[object] = []
        async with guest_without_qemu() as (guest, qemu):
            guest.qmp._client.register_listener(_Events(lambda *event: events.append(event)))
            qemu.send_event("STOP")
            qemu._say({"event": "RESUME", "data": 7, "timestamp": {"seconds": 1, "microseconds": 2}})
            qemu._say({"event": "RESET", "timestamp": {"seconds": 1, "microseconds": 2}})
            await asyncio.sleep(1)
        return events

    assert run_virtually(scenario()) == [("STOP", {}), ("RESUME", {}), ("RESET", {})]


def test_the_librarys_own_log_is_not_written_as_well() -> None:
    assert logging.getLogger("qemu.qmp").propagate is False
