"""HTTP servers of one image that break off, lie, hang or refuse, connection by connection."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a connection gets. ``bytes`` of the body at most; ``status`` 206 answers the range."""

    status: int = 206
    body: bytes | None = None
    """In place of the image."""
    count: int | None = None
    """Bytes of the body, and then the end; None: all that was asked for."""
    hangs: bool = False
    """After that, nothing more comes, and it does not end."""
    raw: bytes | None = None
    """In place of any answer."""
    drips: bytes | None = None
    """After that, this again and again, twice a second."""


@dataclass
class FickleServer:
    """``asked`` has the first byte that each connection wanted, ``sent`` the bytes of bodies."""

    url: str = ""
    asked: list[int] = field(default_factory=list)
    sent: int = 0
    drops: int = 0
    """How often something has dripped."""


@contextlib.contextmanager
def serve_fickly(image: bytes, turns: Sequence[Turn] = (), *, then: Turn = Turn()) -> Iterator[FickleServer]:
    """A server that gives the connections ``turns`` in order, and all that come after ``then``."""
    server = FickleServer()
    left = list(turns)
    over = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            turn = left.pop(0) if left else then
            offset, last = 0, ""
            while (line := self.rfile.readline(1 << 16)) not in (b"\r\n", b"\n", b""):
                name, _, value = line.decode().partition(":")
                if name.lower() == "range":
                    first, _, last = value.partition("=")[2].strip().partition("-")
                    offset = int(first)
            server.asked.append(offset)
            with contextlib.suppress(OSError):
                self.answer(turn, offset, int(last) + 1 if last else None)

        def answer(self, turn: Turn, offset: int, end: int | None) -> None:
            if turn.raw is not None:
                self.wfile.write(turn.raw)
            else:
                whole = image if turn.body is None else turn.body
                self.wfile.write(f"HTTP/1.1 {turn.status} X\r\n".encode())
                if turn.status == 206:
                    stop = len(whole) if end is None else min(end, len(whole))
                    text = f"Content-Range: bytes {offset}-{stop - 1}/{len(whole)}\r\n"
                    self.wfile.write(text.encode())
                self.wfile.write(b"Connection: close\r\n\r\n")
                body = (whole[offset:end] if turn.status == 206 else whole)[: turn.count]
                if turn.status in (200, 206):
                    self.wfile.write(body)
                    server.sent += len(body)
            while turn.drips is not None and not over.wait(0.5):
                self.wfile.write(turn.drips)
                server.drops += 1
            if turn.hangs:
                over.wait(60)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            """Clients hang up as they like."""

    with Server(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_address[1]}/releases/x/store.squashfs"
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            over.set()
            listening.shutdown()
            thread.join()
