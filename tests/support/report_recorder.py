"""Runs inside a machine: a boot server that writes down what it is told, and answers what it was told to.

Arguments: a port of 127.0.0.1, a directory. A request is a line of JSON in its ``reports``: the path with its
query, the Content-Type, the fields of the form. ``answers`` has an answer a line, of which the last one holds
on: a status, and seconds for Retry-After.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

PORT, PLACE = int(sys.argv[1]), Path(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = {
            "target": self.path,
            "type": self.headers["Content-Type"],
            "size": len(body),
            "fields": parse_qs(body.decode("ascii"), keep_blank_values=True, strict_parsing=True),
        }
        with (PLACE / "reports").open("a") as reports:
            reports.write(json.dumps(request) + "\n")
        first, *others = (PLACE / "answers").read_text().splitlines()
        (PLACE / "answers").write_text("\n".join(others or [first]))
        status, *pause = first.split()
        self.send_response(int(status))
        if pause:
            self.send_header("Retry-After", pause[0])
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")


PLACE.mkdir(exist_ok=True)
if not (PLACE / "answers").exists():
    (PLACE / "answers").write_text("200")
HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
