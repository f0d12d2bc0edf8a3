"""The boot HTTP server as the guest runner's child: what it does when that dies, hangs, or cannot start."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import urllib.request
from typing import TYPE_CHECKING

import pytest
from support.guests import argv_of, empty_root, wait_until
from support.reaper import find_children

from ectools import log
from ectools.netboot.http.listen import bind_listener
from ectools.supervision import ChildState, RestartPolicy
from ectools.vm import boot_server
from ectools.vm.boot_server import BootServer, BootServerError, start_boot_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with bind_listener("127.0.0.1", 0) as bound:
        yield bound


def find_server() -> int:
    (pid,) = [pid for pid in find_children(os.getpid()) if "netboot" in argv_of(pid)]
    return pid


async def get_script(listener: socket.socket) -> bytes:
    def get() -> bytes:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/netboot.ipxe"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bytes(answer.read())

    return await asyncio.to_thread(get)


class States(list[ChildState]):
    """The states in their order; ``reached`` waits for one that has come ``times`` times."""

    async def reached(self, state: ChildState, *, times: int) -> None:
        await asyncio.to_thread(
            wait_until, lambda: self.count(state) >= times, f"{state} {times} times", seconds=120
        )


def run(
    listener: socket.socket, root: Path, scenario: Callable[[BootServer, States], Awaitable[None]]
) -> States:
    states = States()

    async def inside() -> None:
        async with start_boot_server(listener, root, unless=asyncio.Event(), changed=states.append) as server:
            await scenario(server, states)

    asyncio.run(inside())
    return states


def test_it_is_started_again_for_as_long_as_it_dies(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More deaths in a row than any limit that it once had."""
    quick = RestartPolicy(first_pause=0.05, longest_pause=0.2)
    monkeypatch.setattr(boot_server, "_POLICY", quick)

    async def scenario(_: BootServer, states: States) -> None:
        for times in range(1, 8):
            await states.reached(ChildState.RUNNING, times=times)
            os.kill(find_server(), signal.SIGKILL)
        assert await get_script(listener) == b"#!ipxe\nshell\n"

    run(listener, empty_root(tmp_path / "root"), scenario)


def test_it_comes_back_when_its_directory_does(listener: socket.socket, tmp_path: Path) -> None:
    root = empty_root(tmp_path / "root")

    async def scenario(_: BootServer, states: States) -> None:
        root.rename(tmp_path / "elsewhere")
        os.kill(find_server(), signal.SIGKILL)
        await states.reached(ChildState.RESTARTING, times=1)
        asked = asyncio.create_task(get_script(listener))  # it waits in the queue
        await asyncio.sleep(1.0)
        (tmp_path / "elsewhere").rename(root)
        assert await asked == b"#!ipxe\nshell\n"
        await states.reached(ChildState.RUNNING, times=2)

    run(listener, root, scenario)


def test_one_that_hangs_is_replaced(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_server, "_CHECK_SECONDS", 0.5)
    monkeypatch.setattr(boot_server, "_ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(boot_server, "_STOP_SECONDS", 0.5)

    async def scenario(_: BootServer, states: States) -> None:
        os.kill(find_server(), signal.SIGSTOP)
        await states.reached(ChildState.RUNNING, times=2)
        assert await get_script(listener) == b"#!ipxe\nshell\n"

    run(listener, empty_root(tmp_path / "root"), scenario)


def test_one_for_which_there_is_no_pipe_is_started_when_there_is(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, failures = os.pipe, [OSError(24, "Too many open files")] * 2

    def sometimes() -> tuple[int, int]:
        if failures:
            raise failures.pop()
        return pipe()

    async def scenario(_: BootServer, states: States) -> None:
        monkeypatch.setattr(os, "pipe", sometimes)
        os.kill(find_server(), signal.SIGKILL)
        await states.reached(ChildState.RUNNING, times=2)
        assert not failures

    run(listener, empty_root(tmp_path / "root"), scenario)


def test_before_the_guest_one_that_cannot_start_is_an_error(listener: socket.socket, tmp_path: Path) -> None:
    async def scenario(*_: object) -> None:
        raise AssertionError("not reached")

    with pytest.raises(BootServerError, match="the boot HTTP server did not start: exit status") as caught:
        run(listener, tmp_path / "missing", scenario)
    assert str(tmp_path / "missing") in caught.value.message


def test_requests_without_end_do_not_hide_what_the_server_says(
    listener: socket.socket, tmp_path: Path
) -> None:
    lines = io.StringIO()
    log.set_up(json_lines=True, stream=lines)

    async def flood() -> None:
        server = BootServer(listener, tmp_path)
        for _ in range(30_000):
            server._on_line('{"event": "request", "level": "info", "path": "/x", "status": 200}')
        server._on_line('{"event": "the disk fails", "level": "error"}')
        assert server.requested.is_set()
        assert "the disk fails" in server.report("")
        server.close()

    try:
        asyncio.run(flood())
    finally:
        log.set_up()
    events = [json.loads(line)["event"] for line in lines.getvalue().splitlines()]
    assert 10_000 <= events.count("request") < 11_000
    assert "the disk fails" in events
