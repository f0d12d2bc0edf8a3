"""``ectools netboot http`` as a process: how it starts, refuses to start, is restarted and stops."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from support.boot_http import DEADLINE_SECONDS, Client, Server, boot_server, build_argv, wait_until
from support.diagnostics import show_errors
from support.needs import give_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPARSE = 64 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    (directory / "netboot.ipxe").write_bytes(b"#!ipxe\n")
    with (directory / "initrd").open("wb") as file:
        file.truncate(SPARSE)
    return directory


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)
        yield bound


def start_download(server: Server) -> Client:
    client = server.connect(receive_buffer=64 << 10)
    client.send("/initrd")
    assert client.read_header()[0] == 200
    return client


def wait_for_event(server: Server, word: str) -> None:
    wait_until(lambda: any(word in line["event"] for line in server.log()), f"{word} in the log")


def is_refused(server: Server) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_the_log(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log") as server:
        server.get("/netboot.ipxe")
        server.get("/initrd", {"Range": "bytes=0-9"}, method="GET")
        server.get("/none", {"Range": "token=x"}, method="HEAD")
        server.send_raw(b"nonsense\r\n\r\n")
        with server.connect() as client:
            client.socket.sendall(b"x" * 20000)
            client.read()
        assert server.stop() == 0
        ready, *requests, _, stopped = server.log()
    assert (ready["event"], ready["ip"], ready["port"]) == (
        "boot HTTP server is ready",
        "127.0.0.1",
        server.port,
    )
    assert stopped["event"] == "boot HTTP server has stopped"
    assert all(line["event"] == "request" and line["peer"] == "127.0.0.1" for line in requests)
    keys = ("method", "path", "status", "bytes", "range")
    assert [tuple(line.get(key) for key in keys) for line in requests] == [
        ("GET", "/netboot.ipxe", 200, 7, None),
        ("GET", "/initrd", 206, 10, "bytes=0-9"),
        ("HEAD", "/none", 404, 0, "token=***"),
        (None, None, 400, 0, None),
        (None, None, 431, 0, None),
    ]
    assert all(line["seconds"] >= 0 for line in requests[:3])


def test_sigterm_lets_downloads_end(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log") as server:
        download = start_download(server)
        idle = server.connect()
        assert idle.request("/netboot.ipxe").status == 200
        server.process.send_signal(signal.SIGTERM)
        wait_for_event(server, "stopping")
        assert idle.read() == b""
        wait_until(lambda: is_refused(server), "no more connections")
        assert server.process.poll() is None
        assert download.read(SPARSE) == bytes(SPARSE)
        assert download.read() == b""
        assert server.process.wait(DEADLINE_SECONDS) == 0
        assert server.log()[-1]["dropped"] == 0


def test_sigterm_answers_whoever_has_just_connected(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log") as server:
        with server.connect() as early, server.connect() as half:
            half.socket.sendall(b"GET /netboot.ipxe HTTP/1.1\r\n")
            assert server.get("/netboot.ipxe").status == 200  # by now the two before were accepted
            server.process.send_signal(signal.SIGTERM)
            wait_for_event(server, "stopping")
            response = early.request("/netboot.ipxe")
            assert (response.status, response.headers["connection"]) == (200, "close")
            half.socket.sendall(b"Host: boot\r\n\r\n")
            assert half.read_response().body == b"#!ipxe\n"
        assert server.process.wait(DEADLINE_SECONDS) == 0


def test_the_drain_has_an_end(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log", "--drain-seconds", "0.5") as server:
        download = start_download(server)
        assert server.stop() == 0
        assert server.log()[-1]["dropped"] == 1
        assert [line["aborted"] for line in server.requests()] == ["shutdown"]
        assert len(download.read(SPARSE)) < SPARSE


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(root: Path, tmp_path: Path, second: signal.Signals) -> None:
    with boot_server(root, tmp_path / "log", "--drain-seconds", "3600") as server:
        download = start_download(server)
        server.process.send_signal(signal.SIGINT)
        wait_for_event(server, "stopping")
        server.process.send_signal(second)
        assert server.process.wait(DEADLINE_SECONDS) == 0
        assert server.log()[-1]["dropped"] == 1
        download.socket.close()


def test_signals_while_it_stops_change_nothing(root: Path, tmp_path: Path) -> None:
    with boot_server(root, tmp_path / "log") as server:
        server.process.send_signal(signal.SIGTERM)
        for _ in range(10_000):
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert server.process.wait(0.005) == 0
                return
            server.process.send_signal(signal.SIGTERM)
        pytest.fail("it does not stop")


def test_a_restart_on_a_parents_socket_loses_no_client(
    root: Path, tmp_path: Path, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    failures: list[str] = []
    count = 0
    done = threading.Event()

    def fetch() -> None:
        nonlocal count
        while not done.is_set():
            try:
                with Client(port) as client:
                    response = client.request("/netboot.ipxe", {"Connection": "close"})
                if response.body != b"#!ipxe\n":
                    failures.append(repr(response))
                count += 1
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

    fetcher = threading.Thread(target=fetch)
    fetcher.start()
    try:
        for number in range(3):
            descriptor = ("--listen-fd", str(listener.fileno()))
            with boot_server(
                root, tmp_path / f"log{number}", *descriptor, pass_fds=(listener.fileno(),)
            ) as server:
                assert server.port == port
                seen = count
                wait_until(lambda seen=seen: count > seen + 20 or failures, "clients are served")
                assert server.stop() == 0
    finally:
        done.set()
        # The one that waits in the queue at the end is answered by nobody.
        listener.close()
        fetcher.join(DEADLINE_SECONDS)
    assert failures[:-1] == []
    assert count > 60


def run(*arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail, and to have started nothing."""
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=DEADLINE_SECONDS, pass_fds=pass_fds, check=False
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done


def test_bad_roots(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, reason in (("none", "No such file"), ("file", "Not a directory")):
        done = run(*build_argv(tmp_path / name, "--port", "0"))
        assert done.returncode == 2
        said = show_errors(done.stderr)
        assert str(tmp_path / name) in said
        assert reason in said
        assert "hint: " in said


def test_a_port_in_use(root: Path, listener: socket.socket) -> None:
    port = str(listener.getsockname()[1])
    done = run(*build_argv(root, "--port", port))
    assert done.returncode == 1
    said = show_errors(done.stderr)
    assert f"127.0.0.1:{port}: cannot listen: Address already in use" in said
    assert "hint: another program holds the port" in said


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--bind-ip", "192.0.2.1", "--port", "0"], 1, "192.0.2.1:0: cannot listen: Cannot assign requested"),
        (["--bind-ip", "boot.example", "--port", "0"], 2, "boot.example: not an IP address"),
        (["--bind-ip", "10.0.0", "--port", "0"], 2, "10.0.0: not an IP address"),
        (["--port", "65536"], 2, "port 65536: out of range"),
        (["--port", "x"], 2, "'x' is not a valid integer"),
        (["--listen-fd", "3", "--port", "80"], 2, "--listen-fd takes the place of --bind-ip and --port"),
        (["--max-connections", "0"], 2, "--max-connections"),
        (["--header-seconds", "0"], 2, "--header-seconds"),
        (["--drain-seconds", "inf"], 2, "inf is no time in seconds"),
        (["--listen-fd", "77"], 2, "--listen-fd 77: Bad file descriptor"),
    ],
)
def test_bad_arguments(root: Path, arguments: list[str], status: int, words: str) -> None:
    done = run(*build_argv(root, *arguments))
    assert done.returncode == status
    assert words in done.stderr


def test_descriptors_that_are_no_listening_tcp_socket(root: Path, tmp_path: Path) -> None:
    with (
        socket.socket() as not_listening,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
        (tmp_path / "log").open("w") as file,
    ):
        for descriptor, words in (
            (not_listening.fileno(), "is not listening"),
            (udp.fileno(), "not a TCP socket"),
            (unix.fileno(), "not a TCP socket"),
            (file.fileno(), "not a socket"),
        ):
            done = run(*build_argv(root, "--listen-fd", str(descriptor)), pass_fds=(descriptor,))
            assert done.returncode == 2
            assert words in done.stderr


def test_a_low_limit_of_open_files_lowers_the_cap(root: Path, tmp_path: Path) -> None:
    argv = build_argv(root, "--port", "0", "--json", "--max-connections", "1000")
    limited = ["sh", "-c", 'ulimit -n 400 && exec "$@"', "sh", *argv]
    with subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            warning = json.loads(process.stderr.readline())
            assert (warning["level"], warning["wanted"]) == ("warning", 1000)
            assert 0 < warning["allowed"] < 100
            port = json.loads(process.stdout.readline())["port"]
            with Client(port) as client:
                body = client.request("/healthz").body
            assert json.loads(body)["max_connections"] == warning["allowed"]
        finally:
            process.kill()
    done = run("sh", "-c", 'ulimit -n 250 && exec "$@"', "sh", *argv)
    assert done.returncode == 1
    assert "LimitNOFILE" in done.stderr


def test_ipv6(root: Path, tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        give_up("the address ::1")
    argv = build_argv(root, "--bind-ip", "::1", "--port", "0", "--json")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert ready["url"] == f"http://[::1]:{ready['port']}/"
            with socket.create_connection(("::1", ready["port"]), DEADLINE_SECONDS) as client:
                client.sendall(b"GET /netboot.ipxe HTTP/1.0\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.")
        finally:
            process.kill()
