"""A forge with one release whose archive is a file: ``server.py DIRECTORY ARCHIVE``; prints its port.

Sends with sendfile, so that it takes little of the processors that are measured.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DIRECTORY, ARCHIVE = Path(sys.argv[1]), sys.argv[2]


class Forge(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            base = f"http://{self.headers['Host']}"
            names = (ARCHIVE, "SHA256SUMS.txt")
            assets = [{"name": name, "browser_download_url": f"{base}/{name}"} for name in names]
            self.send(json.dumps({"tag_name": "boot-v1", "assets": assets}).encode())
        elif self.path == "/SHA256SUMS.txt":
            self.send((DIRECTORY / "SHA256SUMS.txt").read_bytes())
        else:
            self.send_file(DIRECTORY / ARCHIVE)

    def send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, path: Path) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        with path.open("rb") as file:
            sent = 0
            while done := os.sendfile(self.connection.fileno(), file.fileno(), sent, 1 << 20):
                sent += done

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Forge)
print(server.server_port, flush=True)
server.serve_forever()
