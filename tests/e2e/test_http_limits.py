"""Clients that are slow, many, greedy or hostile, against a running boot HTTP server."""

from __future__ import annotations

import contextlib
import json
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_http import DEADLINE_SECONDS, Client, Server, boot_server, wait_until
from support.hanging_mount import hanging_mount

if TYPE_CHECKING:
    from collections.abc import Iterator

SPARSE = 64 << 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("boot")
    (directory / "netboot.ipxe").write_bytes(b"#!ipxe\n")
    with (directory / "initrd").open("wb") as file:
        file.truncate(SPARSE)
    return directory


@contextlib.contextmanager
def impatient_server(root: Path, log_file: Path, *arguments: str) -> Iterator[Server]:
    with boot_server(root, log_file, "--header-seconds", "1", *arguments) as running:
        yield running


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with impatient_server(root, tmp_path_factory.mktemp("log") / "log") as running:
        yield running


def test_a_header_that_does_not_end_is_cut_off(server: Server) -> None:
    """One byte now and then keeps nothing open: the deadline is for the whole header."""
    with server.connect() as client:
        client.socket.sendall(b"GET /netboot.ipxe HTTP/1.1\r\nHost: boot\r\nX: ")
        client.socket.settimeout(0.1)
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            while True:
                try:
                    got = client.socket.recv(4096)
                    break
                except TimeoutError:
                    client.socket.sendall(b"x")
                    assert time.monotonic() - begin < 60, "still open"
        assert got.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("before", [False, True], ids=["fresh", "kept alive"])
def test_an_idle_connection_is_closed(server: Server, before: bool) -> None:
    with server.connect() as client:
        if before:
            assert client.request("/netboot.ipxe").status == 200
        assert client.read() == b""


def test_a_download_may_take_longer_than_a_header(server: Server) -> None:
    with server.connect(receive_buffer=64 << 10) as client:
        client.send("/initrd")
        assert client.read_header()[0] == 200
        # Far beyond the header's deadline of one second, by which this connection would be idle.
        with server.connect() as idle:
            assert idle.read() == b""
        with server.connect() as idle:
            assert idle.read() == b""
        assert len(client.read(SPARSE)) == SPARSE


@pytest.mark.parametrize(
    "header",
    [
        b"GET /" + b"x" * (3 << 20) + b" HTTP/1.1\r\nHost: boot\r\n\r\n",
        b"GET /netboot.ipxe HTTP/1.1\r\nHost: boot\r\nX: " + b"x" * (3 << 20) + b"\r\n\r\n",
        b"GET /netboot.ipxe HTTP/1.1\r\nHost: boot\r\n" + b"X: x\r\n" * (500 << 10) + b"\r\n",
        b"\0" * (3 << 20),
        b"\r\n" * (3 << 19),
        b"\n" * (3 << 20),
    ],
    ids=["line", "field", "fields", "zeros", "empty lines", "newlines"],
)
def test_a_header_of_three_megabytes_is_refused_and_the_refusal_arrives(
    server: Server, header: bytes
) -> None:
    with server.connect() as client:
        client.socket.sendall(header)
        assert client.read_header()[0] == 431
        client.read()


@pytest.mark.parametrize("size", [8000, 9000, 16000])
def test_a_large_header_is_answered_or_refused(server: Server, size: int) -> None:
    response = server.get("/netboot.ipxe", {"X": "x" * size})
    assert response.status == (200 if size < 8190 else 400)


def test_requests_sent_ahead_without_end_are_not_kept(server: Server) -> None:
    """A client that asks and asks and reads nothing gets what was in time, and then the connection's end."""
    with server.connect(receive_buffer=64 << 10) as client:
        client.send("/initrd")
        assert client.read_header()[0] == 200
        for _ in range(200):
            client.send("/ahead", {"X": "x" * 4000})
        assert len(client.read(SPARSE)) == SPARSE
        client.read()
    server.get("/netboot.ipxe")
    assert sum(line["path"] == "/ahead" for line in server.requests()) < 50


def test_five_hundred_half_open_connections_hold_nobody_up(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log", "--header-seconds", "3") as server:
        clients = [server.connect() for _ in range(500)]
        try:
            for client in clients:
                client.socket.sendall(b"G")
            assert server.get("/netboot.ipxe").status == 200
            assert len(server.get("/initrd").body) == SPARSE
            for client in clients:
                assert client.read_header()[0] == 408
        finally:
            for client in clients:
                client.socket.close()
        assert server.get("/netboot.ipxe").status == 200


def fill(server: Server, count: int) -> list[Client]:
    """So many connections, each with a download in flight that its client does not read."""
    clients = []
    for _ in range(count):
        client = server.connect(receive_buffer=64 << 10)
        client.send("/initrd")
        assert client.read_header()[0] == 200
        clients.append(client)
    return clients


def test_above_the_cap_clients_are_told_when_to_come_back(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log", "--max-connections", "4") as server:
        clients = fill(server, 4)
        for _ in range(20):
            response = server.get("/netboot.ipxe")
            assert response.status == 503
            assert int(response.headers["retry-after"]) > 0
            assert response.headers["connection"] == "close"
        head = server.get("/netboot.ipxe", method="HEAD")
        assert (head.status, head.body) == (503, b"")
        assert server.get("/healthz").status == 200  # whoever watches the server must not take it for dead
        clients.pop().socket.close()
        wait_until(lambda: server.get("/netboot.ipxe").status == 200, "a place is free")
        for client in clients:
            assert len(client.read(SPARSE)) == SPARSE
            client.socket.close()


def test_a_flood_of_connections_above_the_cap_leaves_the_others_alone(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log", "--max-connections", "2") as server:
        (download,) = fill(server, 1)
        idle = [server.connect() for _ in range(600)]
        assert len(download.read(SPARSE)) == SPARSE
        download.socket.close()
        for client in idle:
            client.socket.close()
        wait_until(lambda: server.get("/netboot.ipxe").status == 200, "the flood is over")


def test_a_client_that_takes_nothing_is_dropped_and_a_slow_one_is_not(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log", "--stall-seconds", "1") as server:
        slow = server.connect(receive_buffer=16 << 10)
        slow.send("/initrd")
        assert slow.read_header()[0] == 200
        (stalled,) = fill(server, 1)

        def is_dropped() -> bool:
            assert slow.socket.recv(16 << 10)  # about 1 MB/s: its socket is seldom writable
            return any(line.get("aborted") == "client stalled" for line in server.requests())

        wait_until(is_dropped, "the stalled client is dropped")
        assert len(stalled.read(SPARSE)) < SPARSE
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert slow.socket.recv(16 << 10)
            time.sleep(0.02)
        assert [line["status"] for line in server.requests()] == [200]
        stalled.socket.close()
        slow.socket.close()


def test_out_of_descriptors_it_waits_until_there_are_some(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log") as server:
        assert server.get("/netboot.ipxe").status == 200
        pid = server.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 2, hard))
        clients = [server.connect() for _ in range(10)]
        for client in clients:
            client.send("/netboot.ipxe")
        wait_until(lambda: any("cannot be accepted" in line["event"] for line in server.log()), "it is out")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        # Those that were accepted may have found no descriptor for the file itself.
        assert {client.read_response().status for client in clients} <= {200, 503}
        assert server.get("/netboot.ipxe").status == 200
        for client in clients:
            client.socket.close()


def test_a_client_that_asks_ahead_and_takes_nothing_is_dropped(root: Path, tmp_path: Path) -> None:
    """It is answered from memory, until its socket is full."""
    (root / "large.ipxe").write_bytes(bytes(60_000))
    with boot_server(root, tmp_path / "log", "--stall-seconds", "1") as server:
        with server.connect(receive_buffer=16 << 10) as client:
            asked = 0
            client.socket.settimeout(0.1)

            def is_dropped() -> bool:
                nonlocal asked
                with contextlib.suppress(OSError):
                    client.send("/large.ipxe")
                    asked += 1
                return any("aborted" in line for line in server.requests())

            wait_until(is_dropped, "it is dropped")
            client.socket.settimeout(DEADLINE_SECONDS)
            assert len(client.read()) < asked * 60_000
        assert [line["aborted"] for line in server.requests() if "aborted" in line] == ["client stalled"]
        assert server.get("/netboot.ipxe").status == 200


def test_answers_that_are_no_downloads_leave_nothing_behind(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log") as server, server.connect() as client:
        descriptors = Path(f"/proc/{server.process.pid}/fd")
        etag = client.request("/initrd", method="HEAD").headers["etag"]
        before = len(list(descriptors.iterdir()))
        for _ in range(20):
            assert client.request("/initrd", {"Range": "bytes=0-9"}).status == 206
            assert client.request("/initrd", {"If-None-Match": etag}).status == 304
            assert client.request("/initrd", {"Range": f"bytes={SPARSE}-"}).status == 416
            assert client.request("/initrd", method="HEAD").status == 200
            (root / "fresh.ipxe").write_bytes(b"#!ipxe")  # not to be kept in memory yet
            assert client.request("/fresh.ipxe").status == 200
        assert len(list(descriptors.iterdir())) <= before + 1  # one may be open for a moment


def test_clients_that_go_away_leave_nothing_behind(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log") as server:
        descriptors = Path(f"/proc/{server.process.pid}/fd")
        assert server.get("/initrd", {"Range": "bytes=0-9"}).status == 206
        before = len(list(descriptors.iterdir()))
        for _ in range(5):
            for client in fill(server, 20):
                client.socket.close()
        wait_until(lambda: len(list(descriptors.iterdir())) <= before, "all descriptors are closed")
        gone = [line for line in server.requests() if line.get("aborted") == "client gone"]
        assert len(gone) == 100
        assert all(0 < line["bytes"] < SPARSE for line in gone)


def test_five_hundred_downloads_at_once_fit_in_memory_and_none_starves(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log") as server:
        clients = fill(server, 512)
        for client in clients:
            assert len(client.read(4 << 20)) == 4 << 20
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        assert resident * 1024 < 64_000_000
        for client in clients:
            client.socket.close()


def test_a_mount_that_hangs_holds_up_nobody_who_wants_nothing_of_it(tmp_path: Path) -> None:
    """However many wait for it: the threads that open files are not all theirs."""
    root = tmp_path / "boot"
    (root / "hangs").mkdir(parents=True)
    (root / "netboot.ipxe").write_bytes(b"#!ipxe\n")
    (root / "initrd").write_bytes(bytes(1 << 20))
    with (
        boot_server(root, tmp_path / "log") as server,
        contextlib.ExitStack() as waiting,
        hanging_mount(root / "hangs"),
    ):
        for number in range(40):
            client = waiting.enter_context(server.connect())
            client.send(f"/hangs/{number}")
        wait_until(lambda: json.loads(server.get("/healthz").body)["connections"] > 40, "all of them wait")
        assert server.get("/netboot.ipxe").body == b"#!ipxe\n"
        assert server.get("/initrd").body == bytes(1 << 20)
        assert json.loads(server.get("/healthz").body)["status"] == "ok"
