"""A boot server that writes down what it is told of one boot."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

TOKEN = "t0ken_of-the-boot-0123456789abcd"


@dataclass
class Recorder:
    """What a boot server was told: the fields of each form."""

    port: int = 0
    reports: list[dict[str, list[str]]] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """The kernel's, in a guest of QEMU's user-mode network."""
        return self.build_arguments("10.0.2.2")

    def build_arguments(self, host: str) -> str:
        """The kernel's, where this machine is called ``host``."""
        return (
            f"every_channel.report=http://{host}:{self.port}/report?boot={TOKEN} "
            "every_channel.release=boot-v2026.11.29 every_channel.healthy_within=3600"
        )


@contextlib.contextmanager
def record_reports() -> Iterator[Recorder]:
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known = self.path == f"/report?boot={TOKEN}"
            if known:
                recorder.reports.append(parse_qs(body.decode(), strict_parsing=True))
            self.send_response(200 if known else 403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    recorder.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
