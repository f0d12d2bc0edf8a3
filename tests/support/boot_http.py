"""The boot HTTP server as a process, and a client that sends exactly the bytes it is told to."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Self

DEADLINE_SECONDS = 60
"""Generous: what is waited for normally happens at once, and a loaded machine is no failure."""


@dataclass(frozen=True)
class Response:
    """What came back. ``headers`` have lower-case names; ``body`` may be shorter than promised."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A connection to the server. What came after a response's end is kept for the next one."""

    def __init__(
        self,
        port: int,
        *,
        receive_buffer: int | None = None,
        address: str = "127.0.0.1",
        source: str | None = None,
    ) -> None:
        self.socket = socket.socket()
        if source is not None:
            self.socket.bind((source, 0))
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE_SECONDS)
        self.socket.connect((address, port))
        self._data = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> None:
        fields = [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines = [f"{method} {path} HTTP/1.1", "Host: boot", *fields]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def request(
        self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> Response:
        self.send(path, headers, method=method)
        return self.read_response(method=method)

    def is_read(self) -> bool:
        """Whether the server, which is on this machine, has taken all that was sent (proc_net_tcp(5))."""
        theirs, ours = (
            f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
            for host, port in (self.socket.getpeername(), self.socket.getsockname())
        )
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return any(line[1:3] == [theirs, ours] and line[4].endswith(":00000000") for line in lines)

    def read_header(self) -> tuple[int, dict[str, str]]:
        """The next response's status and fields; its body is still to be read."""
        while b"\r\n\r\n" not in self._data:
            got = self.socket.recv(4096)
            assert got, f"the connection ended within a header: {self._data!r}"
            self._data += got
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        status_line, *fields = head.decode("latin-1").split("\r\n")
        pairs = (field.partition(":") for field in fields)
        return int(status_line.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    def read_response(self, *, method: str = "GET") -> Response:
        """The next response: as much of its body as it promises, or less where the connection ends before."""
        status, headers = self.read_header()
        if method != "HEAD" and headers.get("transfer-encoding") == "chunked":
            return Response(status, headers, self._read_chunks())
        promised = 0 if method == "HEAD" or status == 304 else int(headers["content-length"])
        return Response(status, headers, self.read(promised))

    def _read_chunks(self) -> bytes:
        """A body that comes as it is made (RFC 9112, section 7.1), without trailers."""
        body = b""
        while True:
            while b"\r\n" not in self._data:
                got = self.socket.recv(4096)
                assert got, f"the connection ended within a chunk's header: {self._data!r}"
                self._data += got
            size, _, self._data = self._data.partition(b"\r\n")
            chunk = self.read(int(size, 16) + 2)
            assert chunk.endswith(b"\r\n"), "the connection ended within a chunk"
            body += chunk[:-2]
            if len(chunk) == 2:
                return body

    def read(self, count: int | None = None) -> bytes:
        """``count`` bytes, or all until the connection ends; fewer where it ends before."""
        parts = [self._data]
        have = len(self._data)
        while count is None or have < count:
            try:
                got = self.socket.recv(1 << 20)
            except ConnectionResetError:
                break
            if not got:
                break
            parts.append(got)
            have += len(got)
        data = b"".join(parts)
        self._data = data[count:] if count is not None else b""
        return data[:count]


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    log_file: Path

    def log(self) -> list[dict[str, Any]]:
        """The lines that it has logged, whole ones only."""
        lines = self.log_file.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == "request"]

    def connect(self, *, receive_buffer: int | None = None) -> Client:
        return Client(self.port, receive_buffer=receive_buffer)

    def get(self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> Response:
        """One request on a connection of its own, after whose response nothing may come."""
        with self.connect() as client:
            response = client.request(path, {"Connection": "close", **(headers or {})}, method=method)
            assert client.read() == b""
            return response

    def send_raw(self, data: bytes) -> Response:
        """The response to exactly these bytes."""
        with self.connect() as client:
            client.socket.sendall(data)
            return client.read_response(method=data.split(b" ")[0].decode("latin-1"))

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)


def build_argv(root: Path | str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ectools.cli.main", "netboot", "http", "--root", str(root), *arguments]


@contextlib.contextmanager
def boot_server(
    root: Path, log_file: Path, *arguments: str, pass_fds: tuple[int, ...] = ()
) -> Iterator[Server]:
    """``ectools netboot http`` on a free port, ready. SIGKILL at the block's end if it is still there."""
    address = [] if "--listen-fd" in arguments else ["--port", "0"]
    argv = build_argv(root, *address, "--json", *arguments)
    with (
        log_file.open("w") as log,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True, pass_fds=pass_fds) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log_file.read_text()
            yield Server(process, json.loads(line)["port"], log_file)
        finally:
            process.kill()


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll until ``condition`` holds."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"still not: {what}"
        time.sleep(0.02)
