"""The listener of whoever watches the boot server: what it answers, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from ectools import log
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.server import status as module
from ectools.netboot.server.status import StatusListener, StatusSite
from ectools.parsing import ListenAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from pathlib import Path

LOOPBACK = "127.0.0.1"


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    stream = io.StringIO()
    log.set_up(json_lines=True, stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    log.set_up()


def find_free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


async def health() -> Mapping[str, Any]:
    return {"release": "some"}


def run(
    root: Path, address: ListenAddress | None, scenario: Callable[[StatusListener], Coroutine[Any, Any, None]]
) -> None:
    async def inside() -> None:
        site = StatusSite(metrics=lambda: "figures 1\n", health=health)
        listener = StatusListener(address, root=root, site=site)
        async with asyncio.timeout(60):
            await scenario(listener)
            await listener.close()

    asyncio.run(inside())


async def get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def test_what_it_answers(tmp_path: Path, lines: Callable[[], list[dict[str, Any]]]) -> None:
    port = find_free_port()

    async def scenario(listener: StatusListener) -> None:
        for _ in range(3):  # it is opened once
            listener.keep_open()
        metrics = await get(port, "/metrics")
        assert metrics.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nContent-Type: text/plain; version=0.0.4\r\n" in metrics
        assert metrics.endswith(b"\r\n\r\nfigures 1\n")
        for path in ("/", "/metrics/", "/metrics/x", "/kernel"):
            answer = await get(port, path)
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert answer.endswith(b"not found; there are /metrics and /healthz\n")
        report = json.loads((await get(port, "/healthz")).partition(b"\r\n\r\n")[2])
        assert (report["status"], report["release"]) == ("ok", "some")
        assert report["max_connections"] == 32
        await listener.close()
        await listener.close()
        with pytest.raises(ConnectionRefusedError):
            await get(port, "/metrics")
        # It can be opened again.
        listener.keep_open()
        assert (await get(port, "/metrics")).startswith(b"HTTP/1.1 200 ")

    (tmp_path / "kernel").write_bytes(b"kernel")
    run(tmp_path, ListenAddress(ip=IPv4Address(LOOPBACK), port=port), scenario)
    told = [line["url"] for line in lines() if line["event"] == "health and metrics are there"]
    assert told == [f"http://127.0.0.1:{port}/"] * 2


def test_it_ends_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[HttpSettings] = []

    def note(**options: Any) -> HttpSettings:
        made.append(HttpSettings(**options))
        return made[-1]

    monkeypatch.setattr(module, "HttpSettings", note)

    async def scenario(listener: StatusListener) -> None:
        listener.keep_open()

    run(tmp_path, ListenAddress(ip=IPv4Address(LOOPBACK), port=find_free_port()), scenario)
    assert made == [HttpSettings(root=tmp_path, max_connections=32, drain_seconds=1.0)]


def test_without_an_address_there_is_none(tmp_path: Path, lines: Callable[[], list[dict[str, Any]]]) -> None:
    async def scenario(listener: StatusListener) -> None:
        listener.keep_open()

    run(tmp_path, None, scenario)
    assert lines() == []


def test_an_address_that_cannot_be_had_is_told_once_and_tried_again(
    tmp_path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    def warnings() -> list[str]:
        return [line["reason"] for line in lines() if line["level"] == "warning"]

    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]

        async def scenario(listener: StatusListener) -> None:
            for _ in range(3):
                listener.keep_open()
            assert len(warnings()) == 1
            assert f"127.0.0.1:{port}: cannot listen: Address already in use" in warnings()[0]
            other.close()
            with pytest.MonkeyPatch.context() as patch:
                # Another reason is told too, and the socket is let go.
                patch.setattr(module, "HttpServer", fail)
                for _ in range(2):
                    listener.keep_open()
            assert warnings()[1:] == ["[Errno 24] Too many open files"]
            listener.keep_open()
            assert (await get(port, "/metrics")).startswith(b"HTTP/1.1 200 ")

        run(tmp_path, ListenAddress(ip=IPv4Address(LOOPBACK), port=port), scenario)


def fail(*_: object, **__: object) -> None:
    raise OSError(24, "Too many open files")
