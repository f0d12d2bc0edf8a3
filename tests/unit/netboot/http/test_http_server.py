"""The server as a library: access rules, the event loop it needs, the addresses it takes."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from ectools.errors import EcError, InputError
from ectools.netboot.http.access_log import printable_path
from ectools.netboot.http.handler import RequestInfo, Resource
from ectools.netboot.http.listen import ListenError, adopt_listener, bind_listener
from ectools.netboot.http.responses import Delivery
from ectools.netboot.http.server import HttpServer
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.http.webroot import RejectedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def ask(targets: Iterable[str], settings: HttpSettings, **rules: Any) -> list[bytes]:
    """The whole answer to a GET of each target, each on a connection of its own."""

    async def scenario() -> list[bytes]:
        server = HttpServer(settings, listener=bind_listener("127.0.0.1", 0), **rules)
        _, port = server.start()
        answers = []
        for target in targets:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {target} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode())
            answers.append(await reader.read())
            writer.close()
        assert await server.drain() == 0
        await server.close()
        return answers

    return asyncio.run(scenario())


class SomeSite:
    """Two names of its own, and one that leads out of the root."""

    def __init__(self) -> None:
        self.on_complete: list[tuple[str, Delivery]] = []

    async def find(self, info: RequestInfo) -> Resource:
        name = os.fsdecode(b"/".join(info.segments))
        targets: dict[str, tuple[bytes, ...] | bytes] = {
            "kernel": (b"one", b"kernel"),
            "netboot.ipxe": b"#!ipxe\n",
            "gone": (b"..", b"secret"),
        }
        if name not in targets:
            raise RejectedError(404, "not found")
        return Resource(
            target=targets[name], on_complete=lambda delivery: self.on_complete.append((name, delivery))
        )

    async def report(self) -> Mapping[str, Any]:
        return {"release": "some"}


def test_a_site_says_what_stands_at_a_path_and_hears_what_became_of_it(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/kernel").write_bytes(b"a kernel")
    site = SomeSite()
    targets = ("/kernel", "/netboot.ipxe", "/one/kernel", "/healthz", "/gone")
    kernel, script, direct, health, gone = ask(targets, HttpSettings(root=tmp_path), router=site)
    assert kernel.startswith(b"HTTP/1.1 200 ")
    assert kernel.endswith(b"\r\n\r\na kernel")
    assert b'\r\nETag: "' in script
    assert b"Content-Type: text/plain" in script
    assert script.endswith(b"\r\n\r\n#!ipxe\n")
    assert direct.startswith(b"HTTP/1.1 404 ")
    assert health.startswith(b"HTTP/1.1 200 ")
    assert b'"release": "some"' in health
    assert gone.startswith(b"HTTP/1.1 404 ")
    assert site.on_complete == [
        ("kernel", Delivery(status=200, sent=8, reached_end=True)),
        ("netboot.ipxe", Delivery(status=200, sent=7, reached_end=True)),
        ("gone", Delivery(status=404, sent=10, reached_end=False)),
    ]


def test_the_health_report_tells_of_the_site_only_whom_the_access_rule_lets_in(tmp_path: Path) -> None:
    def access_check(_: RequestInfo) -> None:
        raise RejectedError(403, "not from here")

    (health,) = ask(["/healthz"], HttpSettings(root=tmp_path), access_check=access_check, router=SomeSite())
    assert health.startswith(b"HTTP/1.1 200 ")
    assert b"release" not in health


def test_an_access_rule_sees_each_request_and_may_reject_it(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"kernel")
    visits: list[RequestInfo] = []

    def access_check(info: RequestInfo) -> None:
        visits.append(info)
        if info.query.get("token") != "t0ken":
            raise RejectedError(403, "a token is asked for")

    targets = ("/kernel?token=t0ken", "/ker%6eel?token=t0ken", "/kernel", "/none", "/healthz")
    answers = ask(targets, HttpSettings(root=tmp_path), access_check=access_check)
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"403", b"403", b"200"]
    assert [info.segments for info in visits] == [(b"kernel",), (b"kernel",), (b"kernel",), (b"none",)]
    assert visits[0].peer == "127.0.0.1"
    assert visits[0].method == "GET"
    assert visits[0].headers["Host"] == "b"


def test_another_event_loop_is_rejected(tmp_path: Path) -> None:
    foreign = asyncio.AbstractEventLoop()
    with closing(bind_listener("127.0.0.1", 0)) as listener:
        asyncio._set_running_loop(foreign)  # as a loop does while it runs: for authors of loops
        try:
            with pytest.raises(EcError, match="needs asyncio's own event loop"):
                HttpServer(HttpSettings(root=tmp_path), listener=listener)
        finally:
            asyncio._set_running_loop(None)


@pytest.mark.parametrize("ip", ["", "boot.example", "10.0.0", "1.2.3.4.5", "127.0.0.1 ", "::g", "[::1]"])
def test_what_is_no_address(ip: str) -> None:
    with pytest.raises(InputError, match="not an IP address"):
        bind_listener(ip, 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port(port: int) -> None:
    with pytest.raises(InputError, match="out of range"):
        bind_listener("127.0.0.1", port)


def test_a_port_in_use_leaves_no_socket_behind() -> None:
    with closing(bind_listener("127.0.0.1", 0)) as holder:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ListenError, match="Address already in use") as caught:
            bind_listener("127.0.0.1", holder.getsockname()[1])
        assert caught.value.hint is not None
        assert len(os.listdir("/proc/self/fd")) == before


def test_adopting_closes_nothing_that_it_rejects() -> None:
    with socket.socket() as not_listening:
        with pytest.raises(InputError, match="not listening"):
            adopt_listener(not_listening.fileno())
        os.fstat(not_listening.fileno())
    with closing(bind_listener("127.0.0.1", 0)) as parent:
        with closing(adopt_listener(os.dup(parent.fileno()))) as adopted:
            assert adopted.getsockname() == parent.getsockname()
            assert not adopted.get_inheritable()


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/kernel?token=x", "/kernel"),
        ("http://user:password@boot/kernel?x", "/kernel"),
        ("/k\udcff\u202e\x1b[31m", "/k\\udcff\\u202e\\x1b[31m"),
        ("/" + "x" * 5000, "/" + "x" * 999),
    ],
)
def test_paths_in_the_log(target: str, shown: str) -> None:
    assert printable_path(target) == shown
