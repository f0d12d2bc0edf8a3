"""A stand-in for the publisher daemon, in the VM test of its service: says over HTTP what it has and may do.

usage: ec-node --config FILE [ARGUMENT…]
FILE (JSON) has ``health.port``. ``GET /health`` answers with JSON: see ``look_around``. SIGTERM ends the
daemon, but where there is a file ``stubborn`` in its working directory.
"""

from __future__ import annotations

import getpass
import hashlib
import http.server
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

OUTSIDE = ("/var/lib/ec-node", "/etc/ec-node", "/tmp/ec-node", "ec-node")  # noqa: S108  (that is the question)


def attempt(action: Callable[[], object]) -> str:
    """``done``, or the name of the error that the action ended in."""
    try:
        action()
    except OSError as error:
        return type(error).__name__ if error.errno is None else os.strerror(error.errno)
    return "done"


def look_around() -> dict[str, object]:
    """What the daemon was given, its user, and what comes of what it should not be able to do."""
    credentials = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"))
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "arguments": sys.argv[3:],
        "settings": json.loads(Path(sys.argv[2]).read_text()),
        "environment": {name: value for name, value in os.environ.items() if name.startswith("EC_")},
        "credentials": {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(credentials.iterdir())
        },
        "user": getpass.getuser(),
        "directory": str(Path.cwd()),
        "capabilities": int(status["CapEff"], 16) | int(status["CapPrm"], 16),
        "noNewPrivileges": status["NoNewPrivs"].strip() == "1",
        "writes": {path: attempt(Path(path).touch) for path in OUTSIDE},
        "secret": attempt(lambda: Path("/run/publish-key").read_bytes()),
        "disk": Path("/dev/vda").exists(),
        "addresses": [name for _, name in socket.if_nameindex()],
        "packets": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
    }


class Health(http.server.BaseHTTPRequestHandler):
    """``GET /health``."""

    def do_GET(self) -> None:
        """Answer with what there is to be seen."""
        answer = json.dumps(look_around()).encode()
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def say(text: str) -> None:
    """A line for the journal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def stop(_number: int, _frame: object) -> None:
    """End, unless told not to."""
    if not Path("stubborn").exists():
        say("stopped when asked")
        sys.exit(0)
    say("not stopping")


def main() -> None:
    """Serve until SIGTERM."""
    flag, settings = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    if flag != "--config":
        sys.exit(f"ec-node: unknown {flag}")
    with Path("runs").open("a") as runs:
        runs.write("started\n")
    signal.signal(signal.SIGTERM, stop)
    say("started")
    http.server.ThreadingHTTPServer(("", settings["health"]["port"]), Health).serve_forever()


main()
