"""The load: clients that throw away what they get, in one process, so that the server is what is measured.

    load.py downloads HOST PORT PATH CONNECTIONS        download again and again until SIGTERM
    load.py script HOST PORT PATH SECONDS               one new connection after the other; latencies
    load.py slow HOST PORT PATH CONNECTIONS SECONDS     readers that take 1 MB/s each

``downloads`` prints "ready" when every connection has got its first bytes, and for each line that it reads
one with the bytes so far. The others print one JSON object at their end.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time

CHUNK = 8 << 20
# recv(2): with MSG_TRUNC the kernel discards the bytes of a TCP stream and copies nothing.
SINK = bytearray(CHUNK)
SLOW_BYTES_PER_SECOND = 1_000_000
TICK_SECONDS = 0.05


def connect(
    host: str, port: int, path: str, *, receive_buffer: int | None = None
) -> tuple[socket.socket, int]:
    """A connection whose response has begun, and how many bytes of its body are left to come."""
    client = socket.socket()
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(60)
    client.connect((host, port))
    return client, request(client, path)


def request(client: socket.socket, path: str) -> int:
    client.settimeout(60)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: boot\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        got = client.recv(4096)
        if not got:
            raise ConnectionError("closed before the response")
        head += got
    header, _, body = head.partition(b"\r\n\r\n")
    if b" 200 " not in header.split(b"\r\n")[0]:
        raise ConnectionError(header.decode("latin-1"))
    fields = [line.partition(b":") for line in header.split(b"\r\n")]
    length = next(int(value) for name, _, value in fields if name.lower() == b"content-length")
    client.setblocking(False)
    return length - len(body)


def run_downloads(host: str, port: int, path: str, connections: int) -> None:
    poll = select.epoll()
    left: dict[int, int] = {}
    clients: dict[int, socket.socket] = {}
    for _ in range(connections):
        client, remaining = connect(host, port, path)
        clients[client.fileno()] = client
        left[client.fileno()] = remaining
        poll.register(client.fileno(), select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    print("ready", flush=True)
    total = 0
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == sys.stdin.fileno():
                if not sys.stdin.readline():
                    return
                print(total, flush=True)
                continue
            try:
                got = clients[descriptor].recv_into(SINK, CHUNK, socket.MSG_TRUNC)
            except BlockingIOError:
                continue
            if not got:
                raise ConnectionError("closed during the body")
            total += got
            left[descriptor] -= got
            if left[descriptor] == 0:
                left[descriptor] = request(clients[descriptor], path)


def run_script(host: str, port: int, path: str, seconds: float) -> None:
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        client, remaining = connect(host, port, path)
        client.settimeout(60)
        while remaining:
            remaining -= len(client.recv(65536))
        times.append(time.monotonic() - begin)
        client.close()
        time.sleep(0.002)
    times.sort()
    print(
        json.dumps({"count": len(times), "p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]})
    )


def run_slow(host: str, port: int, path: str, connections: int, seconds: float) -> None:
    clients = [connect(host, port, path, receive_buffer=128 << 10)[0] for _ in range(connections)]
    got = [0] * connections
    begin = time.monotonic()
    while (now := time.monotonic()) < begin + seconds:
        due = int((now - begin) * SLOW_BYTES_PER_SECOND)
        for number, client in enumerate(clients):
            wanted = due - got[number]
            if wanted <= 0:
                continue
            with contextlib.suppress(BlockingIOError):
                got[number] += client.recv_into(SINK, wanted, socket.MSG_TRUNC)
        time.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - now)))
    expected = seconds * SLOW_BYTES_PER_SECOND
    print(
        json.dumps({"starved": sum(count < 0.85 * expected for count in got), "least": min(got) / expected})
    )


def main(kind: str, host: str, port: str, path: str, *numbers: str) -> None:
    if kind == "downloads":
        run_downloads(host, int(port), path, int(numbers[0]))
    elif kind == "script":
        run_script(host, int(port), path, float(numbers[0]))
    else:
        run_slow(host, int(port), path, int(numbers[0]), float(numbers[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
