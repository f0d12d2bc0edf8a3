"""``ectools netboot http``: the listener and the settings a server is given, and what is left of its rights.

The server itself is a fake: ``tests/unit/netboot/http`` has the real one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.capabilities import Capability
from ectools.cli.netboot.http import COMMAND
from ectools.netboot.http.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Program


class Server:
    """Notes, in order, which rights were given up, and what is served then."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.settings: list[HttpSettings] = []
        self.addresses: list[tuple[str, int]] = []

    async def serve(
        self, settings: HttpSettings, *, listener: socket.socket, on_ready: Callable[[str, int], None]
    ) -> None:
        self.steps.append("serve")
        self.settings.append(settings)
        self.addresses.append(listener.getsockname()[:2])
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        listener.close()
        on_ready(*self.addresses[-1])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()
    monkeypatch.setattr("ectools.netboot.http.server.serve", found.serve)
    monkeypatch.setattr(
        "ectools.privileges.work_as_directory_user",
        lambda *directories, keep: found.steps.append((directories, keep)),
    )
    monkeypatch.setattr("ectools.privileges.limit_to_user", lambda: found.steps.append("limit"))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_free_port_of_the_loopback_with_the_settings_of_the_help(program: Program, server: Server) -> None:
    status, out, _ = program(COMMAND, "--root", "boot", "--port", 0)
    assert (status, out) == (0, "")
    assert server.settings == [HttpSettings(root=Path("boot"))]
    ((ip, port),) = server.addresses
    assert ip == "127.0.0.1"
    assert port not in (0, 8080)


def test_each_option_arrives_and_the_address_is_told(program: Program, server: Server) -> None:
    words = "--max-connections 7 --header-seconds 0.1 --stall-seconds 2.5 --drain-seconds 0 --json"
    status, out, _ = program(COMMAND, "--root", "boot", "--bind-ip", "127.0.0.2", "--port", 0, *words.split())
    assert server.settings == [
        HttpSettings(
            root=Path("boot"), max_connections=7, header_seconds=0.1, stall_seconds=2.5, drain_seconds=0.0
        )
    ]
    ((ip, port),) = server.addresses
    assert (status, json.loads(out)) == (
        0,
        {"url": f"http://127.0.0.2:{port}/", "ip": ip, "port": port},
    )


def test_a_listener_that_the_parent_passed(program: Program, server: Server) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    assert program(COMMAND, "--root", "boot", "--listen-fd", listener.detach())[0] == 0
    assert server.addresses == [address]


@pytest.mark.parametrize("uid", [0, 1000])
def test_rights_are_given_up_before_anything_is_served(
    program: Program, server: Server, monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert program(COMMAND, "--root", "boot", "--port", 0)[0] == 0
    became = ((Path("boot"),), (Capability.DAC_READ_SEARCH,))
    assert server.steps == [became, *(["limit"] if uid else []), "serve"]


def test_a_signal_after_the_end_kills_nobody(program: Program, server: Server) -> None:
    assert program(COMMAND, "--root", "boot", "--port", 0)[0] == 0
    for number in (signal.SIGTERM, signal.SIGINT):
        assert signal.getsignal(number) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("", 2, "--root"),
        ("--root b --listen-fd 3 --port 0", 2, "--listen-fd takes the place of --bind-ip and --port"),
        ("--root b --listen-fd 3 --bind-ip ::1", 2, "--listen-fd takes the place of --bind-ip and --port"),
        ("--root b --listen-fd -1", 2, "--listen-fd"),
        ("--root b --max-connections 0", 2, "--max-connections"),
        ("--root b --header-seconds 0", 2, "--header-seconds"),
        ("--root b --stall-seconds nan", 2, "--stall-seconds"),
        ("--root b --bind-ip localhost --port 0", 2, "localhost: not an IP address"),
        ("--root b --port 65536", 2, "port 65536: out of range"),
    ],
)
def test_wrong_usage(program: Program, server: Server, words: str, status: int, said: str) -> None:
    got, out, err = program(COMMAND, *words.split())
    assert (got, out) == (status, "")
    assert said in err
    assert server.steps == []


def test_a_port_that_is_taken(program: Program, server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = program(COMMAND, "--root", "b", "--port", port)
    assert (status, out) == (1, "")
    assert f"127.0.0.1:{port}" in err
    assert server.steps == []
