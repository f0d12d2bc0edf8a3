"""Crowds from one address, and from many, on a running boot HTTP server: what the others get meanwhile.

The crowd is ``bench/crowd``'s, which measures against nginx too; here is the rule alone, and no time.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_http import Client, Server, boot_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CROWD = [sys.executable, str(Path(__file__).parents[2] / "bench" / "crowd" / "crowd.py")]
KINDS = ("half-open", "idle", "kept-alive", "slow-reading", "slow-sending")
SPARSE = 64 << 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("boot")
    (directory / "netboot.ipxe").write_bytes(b"#!ipxe\n" + b"# a script of two kilobytes\n" * 73)
    with (directory / "initrd").open("wb") as file:
        file.truncate(SPARSE)
    return directory


@contextlib.contextmanager
def crowd(kind: str, server: Server, count: int, addresses: int) -> Iterator[None]:
    argv = [*CROWD, kind, "127.0.0.1", str(server.port), str(count), str(addresses)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
            process.stdin.close()
            figures = json.loads(process.stdout.readline())
            assert figures["held"] > 0, figures
        finally:
            process.kill()


def ask_as_others(server: Server, seconds: float) -> dict:
    argv = [*CROWD, "others", "127.0.0.1", str(server.port), "/netboot.ipxe", str(seconds), "50"]
    return json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)


def check_crowd(kind: str, root: Path, log_file: Path, *, count: int, addresses: int, seconds: float) -> None:
    with boot_server(root, log_file) as server, crowd(kind, server, count, addresses):
        found = ask_as_others(server, seconds)
        assert found["answered"] >= 0.99 * found["asked"], found
        health = json.loads(server.get("/healthz").body)
        assert health["faults"] == 0
        told = [line for line in server.log() if line["event"] == "clients are turned away"]
        assert told
        # A count and the most frequent of the addresses, not a line for each.
        assert all(line["count"] >= line["of_these"] > 0 for line in told)
        assert {line["reason"] for line in told} >= {"all connections are taken"}
        assert len(told) < 40
        assert sum(health["turned_away"].values()) >= count - health["max_connections"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_crowd_from_one_address_takes_nothing_from_others(kind: str, root: Path, tmp_path: Path) -> None:
    check_crowd(kind, root, tmp_path / "log", count=1500, addresses=1, seconds=3)


@pytest.mark.full
@pytest.mark.parametrize("addresses", [1, 50])
@pytest.mark.parametrize("kind", KINDS)
def test_a_large_crowd_takes_nothing_from_others(
    kind: str, addresses: int, root: Path, tmp_path: Path
) -> None:
    check_crowd(kind, root, tmp_path / "log", count=2000, addresses=addresses, seconds=25)


def test_headers_that_break_off_at_their_408_end_no_deadline(root: Path, tmp_path: Path) -> None:
    """write_eof() on a connection that was reset at this moment raises; and then came the next deadline."""
    with boot_server(root, tmp_path / "log", "--header-seconds", "1") as server:
        argv = [*CROWD, "hang-up", "127.0.0.1", str(server.port), "300", "1"]
        subprocess.run(argv, check=True)
        # Long after: a silent connection is still closed, a half header still answered 408.
        with server.connect() as idle:
            assert idle.read() == b""
        with server.connect() as client:
            client.socket.sendall(b"GET / HTTP/1.1\r\n")
            assert client.read_header()[0] == 408
        assert json.loads(server.get("/healthz").body)["faults"] == 0


def test_one_address_has_all_slots_until_another_wants_one(root: Path, tmp_path: Path) -> None:
    """Downloads that get along, too: the youngest of the address that has the most gives way."""
    with boot_server(root, tmp_path / "log", "--max-connections", "4") as server:
        downloads = []
        for _ in range(4):
            client = Client(server.port, receive_buffer=64 << 10)
            client.send("/initrd")
            assert client.read_header()[0] == 200
            downloads.append(client)
        assert server.get("/netboot.ipxe").status == 503  # the same address has its share
        other = Client(server.port, source="127.0.7.1", receive_buffer=64 << 10)
        other.send("/initrd")
        assert other.read_header()[0] == 200
        second = Client(server.port, source="127.0.7.1")
        assert second.request("/netboot.ipxe").status == 200
        lengths = [len(client.read(SPARSE)) for client in [*downloads, other]]
        assert [length == SPARSE for length in lengths] == [True, True, False, False, True]
        for client in (*downloads, other, second):
            client.socket.close()
        aborted = [line["aborted"] for line in server.requests() if "aborted" in line]
        assert aborted == ["made room for others"] * 2


def test_the_longest_resting_connection_makes_room_and_is_told(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log", "--max-connections", "3", "--header-seconds", "60") as server:
        kept_alive = server.connect()
        assert kept_alive.request("/netboot.ipxe").status == 200
        half = server.connect()
        half.socket.sendall(b"GET /netboot.ipxe HTTP/1.1\r\n")
        wait_until(half.is_read, "the server has half a request, and it rests")
        silent = server.connect()
        with contextlib.ExitStack() as stack:
            for number in range(2):  # both stay: where one has gone, nobody has to make room for the next
                client = stack.enter_context(Client(server.port, source=f"127.0.7.{number + 1}"))
                assert client.request("/netboot.ipxe").status == 200
        assert kept_alive.read() == b""
        status, headers = half.read_header()
        assert (status, headers["retry-after"] in map(str, range(5, 11))) == (503, True)
        half.socket.close()
        assert silent.request("/netboot.ipxe").status == 200
        silent.socket.close()


def test_a_slow_download_makes_room_only_while_slots_are_short(root: Path, tmp_path: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(SPARSE << 6)
    with boot_server(root, tmp_path / "log", "--max-connections", "2") as server:
        slow = server.connect(receive_buffer=4096)
        slow.send("/huge")
        assert slow.read_header()[0] == 200
        other = Client(server.port, source="127.0.7.1", receive_buffer=64 << 10)
        other.send("/huge")
        assert other.read_header()[0] == 200

        def room_is_made() -> bool:
            assert other.socket.recv(256 << 10)
            with contextlib.suppress(OSError):
                slow.socket.settimeout(0.01)
                slow.socket.recv(64)
            with Client(server.port, source="127.0.7.2") as client:
                return client.request("/netboot.ipxe").status == 200

        wait_until(room_is_made, "the slow download has made room")
        (line,) = [line for line in server.requests() if line.get("aborted") == "made room for others"]
        assert line["peer"] == "127.0.0.1"
        slow.socket.close()
        other.socket.close()


def test_slots_are_given_back_whatever_becomes_of_a_connection(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log", "--max-connections", "50", "--header-seconds", "1") as server:
        for kind in range(200):
            client = Client(server.port, source=f"127.0.3.{kind}")
            if kind % 4 == 1:
                client.socket.sendall(b"GET /")
            elif kind % 4 == 2:
                client.send("/initrd")
            elif kind % 4 == 3:
                client.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: an RST
                client.send("/netboot.ipxe")
            client.socket.close()
        wait_until(
            lambda: json.loads(server.get("/healthz").body)["connections"] <= 1, "all slots are given back"
        )
