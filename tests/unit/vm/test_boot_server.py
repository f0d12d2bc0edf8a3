"""The boot HTTP server as a child: what is started, when it serves, and what is logged of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.fake_process import FakeProcess
from support.virtual_time import run_virtually

from ectools.capabilities import Capability
from ectools.supervision import ChildState
from ectools.vm import boot_server
from ectools.vm.boot_server import BootServer, BootServerError, start_boot_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ROOT = Path("/srv/netboot")
OK = b"HTTP/1.1 200 OK\r\n\r\n"


class Listener:
    """A bound socket, as far as its address and its descriptor are asked for."""

    def __init__(self, *address: object) -> None:
        self.address = address

    def fileno(self) -> int:
        return 77

    def getsockname(self) -> tuple[object, ...]:
        return self.address


class Child(FakeProcess):
    """A server; ``lines`` is its standard error."""

    def __init__(self, stderr: int) -> None:
        super().__init__()
        self.stderr = stderr
        self.silent = False

    def write(self, *entries: dict[str, Any] | str) -> None:
        for entry in entries:
            line = entry if isinstance(entry, str) else json.dumps(entry)
            os.write(self.stderr, line.encode() + b"\n")

    def end(self, returncode: int = 0) -> None:
        if self.returncode is None:
            os.close(self.stderr)
        super().end(returncode)


class Host:
    """What the children are, and what they answer: ``set_up`` is called with each new one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.children: list[Child] = []
        self.started: list[tuple[list[str], dict[str, Any]]] = []
        self.set_up: Callable[[Child], None] = lambda _: None
        self.answer = OK
        self.asked: list[tuple[float, str, int]] = []
        self.requests: list[bytes] = []
        self.states: list[ChildState] = []
        self.listener = Listener("127.0.0.1", 8080)
        monkeypatch.setattr(boot_server, "start_async", self._start)
        monkeypatch.setattr(boot_server, "has_capability", lambda _: False)
        monkeypatch.setattr(asyncio, "open_connection", self._connect)

    @contextlib.asynccontextmanager
    async def _start(self, argv: list[str], **more: Any) -> AsyncIterator[FakeProcess]:
        self.started.append((argv, more))
        child = Child(os.dup(more["stderr"]))
        self.children.append(child)
        self.set_up(child)
        try:
            yield child
        finally:
            child.end(-signal.SIGTERM)

    async def _connect(self, ip: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As TCP does: the connection waits in the queue where nobody answers."""
        loop = asyncio.get_running_loop()
        self.asked.append((round(loop.time() - 1000), ip, port))
        ours, theirs = socket.socketpair()
        reader, writer = await self.open_stream(ours)
        child = self.children[-1]
        if child.returncode is not None:
            theirs.close()
        elif not child.silent:
            theirs.sendall(self.answer)
            loop.call_soon(lambda: (self.requests.append(theirs.recv(4096)), theirs.close()))
        else:
            loop.call_later(3600, theirs.close)
        return reader, writer

    async def open_stream(self, ours: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def run(self, scenario: Callable[[BootServer], Awaitable[None]]) -> None:
        async def inside() -> None:
            async with start_boot_server(
                cast("socket.socket", self.listener),
                ROOT,
                unless=asyncio.Event(),
                changed=self.states.append,
            ) as server:
                await scenario(server)

        run_virtually(inside())


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


async def nothing(_: BootServer) -> None:
    """The block's end at once."""


def at(seconds: float, call: Callable[..., object], *arguments: Any) -> None:
    asyncio.get_running_loop().call_later(seconds, call, *arguments)


def test_it_is_started_with_the_socket_and_without_secrets(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    host.run(nothing)
    ((argv, more),) = host.started
    assert argv[0] == sys.executable
    assert argv[1:] == [
        *("-P", "-m", "ectools.cli.main", "netboot", "http", "--root", "/srv/netboot"),
        *("--listen-fd", "77", "--log-format", "json", "--drain-seconds", "1"),
    ]
    assert more["pass_fds"] == [77]
    assert more["stdout"] == subprocess.DEVNULL
    assert more["capabilities"] == ()
    assert "CREDENTIALS_DIRECTORY" not in more["env"]
    assert host.states == [ChildState.RUNNING]
    (request,) = host.requests
    assert request.startswith(f"GET {boot_server.HEALTH_PATH} HTTP/1.1\r\n".encode())
    assert b"\r\nConnection: close\r\n" in request
    assert request.endswith(b"\r\n\r\n")


def test_the_right_to_read_its_own_program_is_handed_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        boot_server, "has_capability", lambda capability: capability is Capability.DAC_READ_SEARCH
    )
    host.run(nothing)
    assert host.started[0][1]["capabilities"] == (Capability.DAC_READ_SEARCH,)


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        (("127.0.0.1", 81), ("127.0.0.1", 81)),
        (("192.0.2.1", 81), ("192.0.2.1", 81)),
        (("0.0.0.0", 81), ("127.0.0.1", 81)),
        (("::", 81, 0, 0), ("::1", 81)),
        (("2001:db8::1", 81, 0, 0), ("2001:db8::1", 81)),
    ],
)
def test_it_is_asked_where_it_listens(
    address: tuple[object, ...], asked: tuple[str, int], host: Host
) -> None:
    host.listener = Listener(*address)
    host.run(nothing)
    assert [(ip, port) for _, ip, port in host.asked] == [asked]


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"", b"200\r\n", b"HTTP/1.1 2000 x\r\n", b"x" * 100_000],
)
def test_any_other_answer_is_none(answer: bytes, host: Host) -> None:
    host.answer = answer
    with pytest.raises(BootServerError, match="the boot HTTP server did not start: it does not answer on /"):
        host.run(nothing)


def test_one_that_does_not_answer_at_first_has_five_minutes(host: Host) -> None:
    def be_silent(child: Child) -> None:
        child.silent = True

    host.set_up = be_silent
    began: list[float] = []

    async def inside() -> None:
        loop = asyncio.get_running_loop()
        began.append(loop.time())
        try:
            async with start_boot_server(
                cast("socket.socket", host.listener),
                ROOT,
                unless=asyncio.Event(),
                changed=host.states.append,
            ):
                raise AssertionError("it serves")
        finally:
            began.append(loop.time())

    with pytest.raises(BootServerError, match="it does not answer on /"):
        run_virtually(inside())
    assert 300 <= began[1] - began[0] < 310
    assert host.states == [ChildState.FAILED]


def test_a_stop_meanwhile_does_not_wait_for_it(host: Host) -> None:
    def be_silent(child: Child) -> None:
        child.silent = True

    host.set_up = be_silent

    async def inside() -> float:
        unless = asyncio.Event()
        at(5, unless.set)
        async with start_boot_server(
            cast("socket.socket", host.listener), ROOT, unless=unless, changed=host.states.append
        ):
            return asyncio.get_running_loop().time()

    assert 1005 <= run_virtually(inside()) < 1006


def test_before_the_guest_one_that_dies_is_an_error_with_all_that_it_said(host: Host) -> None:
    def die(child: Child) -> None:
        child.silent = True
        child.write(
            {"event": "the root is gone", "level": "error", "hint": "make it", "time": "now"},
            {"event": "fine", "level": "info"},
            "Traceback: 1",
            "Traceback: 2",
            "Traceback: 3",
        )
        at(1, child.end, 3)

    host.set_up = die
    with pytest.raises(BootServerError) as caught:
        host.run(nothing)
    assert caught.value.message == (
        "the boot HTTP server did not start: exit status 3\n"
        "  boot-http: the root is gone {'hint': 'make it'}\n"
        "  boot-http: Traceback: 1\n  boot-http: Traceback: 2\n  boot-http: Traceback: 3"
    )


def test_one_that_closes_the_connection_a_moment_before_it_ends_has_ended(host: Host) -> None:
    def die(child: Child) -> None:
        host.answer = b""
        at(1.5, child.end, 4)

    host.set_up = die
    with pytest.raises(BootServerError, match=r"did not start: exit status 4$"):
        host.run(nothing)


def test_one_that_dies_is_started_again_and_its_last_lines_are_in_the_log(host: Host, told: Any) -> None:
    async def scenario(server: BootServer) -> None:
        first = host.children[0]
        first.write("one", "two", "three")
        at(0.5, first.end, 1)
        await asyncio.sleep(5)
        assert server.supervisor.restarts == 1
        assert server.report("x") == "x"  # of the server that runs now

    host.run(scenario)
    assert len(host.children) == 2
    assert host.states == [ChildState.RUNNING, ChildState.RESTARTING, ChildState.RUNNING]
    assert [entry for entry in told.take() if "died" in entry[1]] == [
        (
            "error",
            "the boot HTTP server died; it is started again",
            {"how": "exit status 1: two: three", "pause_seconds": 0.2, "restarts": 1},
        )
    ]


def test_it_is_never_given_up_and_the_pauses_have_a_limit(host: Host) -> None:
    async def scenario(server: BootServer) -> None:
        host.set_up = lambda child: at(1, child.end, 1)
        host.children[0].end(1)
        await asyncio.sleep(1000)
        assert server.supervisor.restarts > 50
        assert server.supervisor.state is not ChildState.FAILED

    host.run(scenario)


def test_one_that_does_not_answer_three_times_in_a_row_is_replaced(host: Host, told: Any) -> None:
    async def scenario(_: BootServer) -> None:
        first = host.children[0]
        first.silent = True
        await asyncio.sleep(2 * 50 + 1)
        first.silent = False  # two are no reason
        await asyncio.sleep(40)
        first.silent = True
        assert len(host.children) == 1
        began = asyncio.get_running_loop().time()
        while len(host.children) == 1:  # noqa: ASYNC110 - the host has no event to wait for
            await asyncio.sleep(1)
        assert 3 * 50 - 12 <= asyncio.get_running_loop().time() - began <= 3 * 50 + 2

    host.run(scenario)
    (died,) = [fields for _, event, fields in told.take() if "died" in event]
    assert died["how"].startswith("it did not answer on /")
    assert died["how"].endswith(" 3 times in a row")


def test_it_is_asked_every_half_minute(host: Host) -> None:
    async def scenario(_: BootServer) -> None:
        await asyncio.sleep(95)

    host.run(scenario)
    assert [seconds for seconds, _, _ in host.asked] == [0, 30, 60, 90]


def entry(event: str, level: str = "info", **fields: object) -> dict[str, Any]:
    return {"time": "2026-01-01T00:00:00.000Z", "level": level, "event": event, **fields}


def test_its_log_is_passed_on_with_levels_and_fields(host: Host, told: Any) -> None:
    async def scenario(server: BootServer) -> None:
        told.take()
        host.children[0].write(
            *(entry("an event", level, answer=42) for level in ("debug", "info", "warning", "error")),
            entry("an event", "critical", source="evil"),
            entry("an event", "unheard of"),
            "no JSON",
            "[1]",
            '{"event": "without a level"}',
        )
        await asyncio.sleep(1)
        assert not server.requested.is_set()
        assert server.report("").split("\n  boot-http: ")[1:] == [
            "an event {'answer': 42}",
            "an event {'answer': 42}",
            "an event {'source': 'evil'}",
            "no JSON",
            "[1]",
            '{"event": "without a level"}',
        ]

    host.run(scenario)
    fields = {"source": "boot-http", "answer": 42}
    assert told.take() == [
        *((level, "an event", fields) for level in ("debug", "info", "warning", "error")),
        ("error", "an event", {"source": "evil"}),
        ("info", "an event", {"source": "boot-http"}),
        *(
            ("warning", "boot-http", {"line": line})
            for line in ("no JSON", "[1]", '{"event": "without a level"}')
        ),
    ]


def test_a_request_is_the_guests_but_not_the_runners_own(host: Host, told: Any) -> None:
    async def scenario(server: BootServer) -> None:
        told.take()
        host.children[0].write(entry("request", path=boot_server.HEALTH_PATH))
        await asyncio.sleep(1)
        assert not server.requested.is_set()
        assert told.take() == []
        host.children[0].write(entry("request", path="/kernel"))
        await asyncio.sleep(1)
        assert server.requested.is_set()
        assert [event for _, event, _ in told.take()] == ["request"]

    host.run(scenario)


def test_requests_without_end_do_not_hide_what_it_says_of_itself(host: Host, told: Any) -> None:
    async def scenario(server: BootServer) -> None:
        told.take()
        for _ in range(12_000):
            server._on_line('{"event": "request", "level": "info", "path": "/kernel"}')
        server._on_line('{"event": "the disk failed", "level": "error"}')
        events = [event for _, event, _ in told.take()]
        assert events.count("request") < 11_000
        assert events[-1] == "the disk failed"

    host.run(scenario)
    # What was left out is told at the end.
    left_out = [fields for _, event, fields in told.take() if "left out" in event]
    assert [fields["source"] for fields in left_out] == ["boot-http requests"]
