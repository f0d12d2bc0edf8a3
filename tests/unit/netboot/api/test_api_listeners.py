"""Where the application is answered, and what a client may not do there: real sockets, real requests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.api_tcp import get, talk, tcp
from support.fleet_api import Api
from support.scenarios import run

from ectools.errors import EcError
from ectools.netboot.api import connections
from ectools.netboot.api import listeners as module
from ectools.netboot.api.app import build_app
from ectools.netboot.api.client import FleetClient, NoRightError, NoServerError
from ectools.netboot.api.listeners import AppListener, bind_control
from ectools.netboot.api.rights import SocketRights
from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def control(api: Api, path: Path) -> AsyncIterator[AppListener]:
    """The control socket of ``api``, open."""
    listener = AppListener(
        lambda: build_app(api.view, SocketRights(), api.hub),
        bind=lambda: bind_control(path),
        what="the control socket",
        where=f"unix:{path}",
    )
    await listener.keep_open()
    try:
        yield listener
    finally:
        api.hub.close()
        await listener.close()


def test_the_control_socket_is_for_its_owner_and_its_group(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def scenario() -> None:
        api = Api()
        async with control(api, path) as listener:
            status = path.stat()
            assert stat.S_ISSOCK(status.st_mode)
            assert stat.S_IMODE(status.st_mode) == 0o660
            assert os.listdir(tmp_path) == ["control.sock"]
            await listener.keep_open()  # it is opened once
            client = FleetClient(path)
            rows = await asyncio.to_thread(client.get, "nodes")
            assert len(rows["nodes"]) == 3
            held = await asyncio.to_thread(lambda: client.post("nodes", "nuc-07", "hold", body={"why": "x"}))
            assert held["hold"]["why"] == "x"
            node = {"match": {"serial": "S9"}}
            await asyncio.to_thread(lambda: client.post("nodes", body={"name": "nuc-09", "node": node}))
            await asyncio.to_thread(client.delete, "nodes", "nuc-09")
            found = (await asyncio.to_thread(lambda: client.get("log", after=1)))["events"]
            assert [each["kind"] for each in found] == ["node-added", "node-removed"]
            with pytest.raises(EcError) as caught:
                await asyncio.to_thread(client.get, "nodes", "nuc-7")
            assert (caught.value.exit_code, caught.value.hint) == (2, "did you mean nuc-07?")
        with pytest.raises(NoServerError, match="no boot server answers there"):
            await asyncio.to_thread(client.get, "nodes")

    run(scenario)


def test_a_socket_that_a_killed_server_has_left_is_replaced_and_another_servers_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(path))
    with bind_control(path) as first:
        inode = path.stat().st_ino
        with pytest.raises(EcError, match="another boot server answers there"):
            bind_control(path)
        assert path.stat().st_ino == inode
        assert first.fileno() >= 0
    with bind_control(path):
        assert path.stat().st_ino != inode


def test_what_is_no_place_for_a_socket(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(EcError, match="is no socket, and is not replaced"):
        bind_control(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(EcError, match="no socket can be made there: No such file or directory"):
        bind_control(tmp_path / "absent" / "control.sock")
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with pytest.raises(EcError, match="its path is too long"):
        bind_control(deep / "control.sock")


@pytest.mark.parametrize(("error", "faults"), [(OSError(24, "too many open files"), 0), (KeyError("x"), 1)])
def test_what_fails_as_it_is_opened_ends_nothing_and_leaves_nothing(
    tmp_path: Path, error: Exception, faults: int
) -> None:
    async def scenario() -> None:
        api = Api()
        guard = Guard("a test", clock=time.monotonic)
        listener = AppListener(
            lambda: build_app(api.view, SocketRights(), api.hub, faults=guard),
            bind=lambda: bind_control(tmp_path / "control.sock"),
            what="the control socket",
            where="there",
            guard=guard,
        )
        with pytest.MonkeyPatch.context() as patch:

            async def fail(*_: Any, **__: Any) -> None:
                raise error

            patch.setattr(asyncio.get_running_loop(), "create_server", fail)
            await listener.keep_open()
        assert guard.failures == faults
        with pytest.raises(NoServerError):
            await asyncio.to_thread(FleetClient(tmp_path / "control.sock").get, "nodes")
        await listener.keep_open()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(api.store, "events", lambda **_: 1 // 0)
            with pytest.raises(EcError):
                await asyncio.to_thread(FleetClient(tmp_path / "control.sock").get, "log")
        assert guard.failures == faults + 1
        api.hub.close()
        await listener.close()

    run(scenario)


def test_nodes_boot_without_it_and_it_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "later" / "control.sock"

    async def scenario() -> None:
        async with control(Api(), path) as listener:
            for _ in range(3):
                await listener.keep_open()
            words = "the control socket cannot be had; nodes boot without it"
            assert caplog.messages.count(words) == 1
            path.parent.mkdir()
            await listener.keep_open()
            assert "the control socket is there" in caplog.messages
            assert path.exists()
            await listener.close()
            await listener.close()

    run(scenario)


def test_who_may_not_open_it_is_told_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(NoRightError) as caught:
        FleetClient(tmp_path / "control.sock").get("nodes")
    assert "is for root and the group" in caught.value.message
    assert "usermod -aG" in (caught.value.hint or "")


def test_health_and_metrics_are_as_they_were() -> None:
    async def scenario() -> None:
        async with tcp(Api()) as port:
            metrics = await talk(port, get("/metrics"))
            assert metrics.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nContent-Type: text/plain; version=0.0.4\r\n" in metrics
            assert metrics.endswith(b"\r\n\r\nfigures 1\n")
            health = await talk(port, get("/healthz"))
            assert b"\r\nContent-Type: application/json\r\n" in health
            for field in (b"Cache-Control: no-cache", b"Server: ectools", b"X-Content-Type-Options: nosniff"):
                assert field in metrics
                assert field in health
            assert health.endswith(
                b'{"status": "ok", "root": true, "release": "sha256-' + b"a" * 32 + b'"}\n'
            )
            nothing = await talk(port, get("/kernel"))
            assert nothing.startswith(b"HTTP/1.1 404 ")
            assert nothing.endswith(b"not found; there are /metrics, /healthz and /api/v1/nodes\n")

    run(scenario)


def test_who_never_sends_a_request_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.05)

    async def scenario() -> None:
        async with tcp(Api()) as port:
            for begun in (b"", b"GET /metrics HTT", get("/metrics").replace(b"close", b"keep-alive")):
                await talk(port, begun)  # it returns

    run(scenario)


def test_what_is_too_much_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with tcp(Api()) as port:
            endless = b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000
            assert not (await talk(port, endless)).startswith(b"HTTP/1.1 200")
            token = b"Authorization: Bearer a-token-of-the-page\r\n"
            body = b"POST /api/v1/nodes/nuc-07/hold HTTP/1.1\r\nHost: b\r\nConnection: close\r\n" + token
            large = await talk(port, body + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000)
            assert large.startswith(b"HTTP/1.1 413 ")
            assert b'{"error":"what was sent is larger than 64 KiB"' in large
            for raw, words in (
                (b"x", b"the body is no JSON"),
                (b"[]", b"no JSON object"),
                (b'{"a":1}', b"a: is no field of this"),
                (b'{"why":1}', b"why: is not a text"),
                (b'{"why":"\\n"}', b"why: is not one line"),
                (b"[" * 20_000, b"the body is no JSON"),
            ):
                answer = await talk(port, body + b"Content-Length: %d\r\n\r\n" % len(raw) + raw)
                assert answer.startswith(b"HTTP/1.1 400 "), answer
                assert words in answer

    run(scenario)


def test_more_connections_than_there_may_be_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)

    async def scenario() -> None:
        async with tcp(Api()) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for reader, writer in held:  # each has its place once it is answered
                writer.write(get("/api/v1/events"))
                await reader.readuntil(b"retry: ")
            refused = await talk(port, get("/metrics"))
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 5\r\n" in refused
            held[0][1].close()
            while not (await talk(port, get("/metrics"))).startswith(b"HTTP/1.1 200 "):
                pass  # the end of a connection takes a turn of the loop, or two
            held[1][1].close()

    run(scenario)


def test_an_address_that_takes_all_connections_keeps_nobody_else_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 4)

    async def hold(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        writer.write(get(path).replace(b"close", b"keep-alive"))
        await reader.readuntil(b"retry: " if path.endswith("events") else b"figures 1\n")
        return reader, writer

    async def scenario() -> None:
        async with tcp(Api()) as port:
            # All at work, which one at rest would make room before.
            working = [await hold(port, "/api/v1/events") for _ in range(4)]
            assert (await talk(port, get("/metrics"))).startswith(b"HTTP/1.1 200 ")
            await working[-1][0].read()  # the one that came last is at its end
            # One of its own that is at rest makes room for the next of the same address.
            reader, writer = await hold(port, "/metrics")
            again = await hold(port, "/metrics")
            assert await reader.read() == b""
            for _, each in (*working, again, (reader, writer)):
                each.close()

    run(scenario)
