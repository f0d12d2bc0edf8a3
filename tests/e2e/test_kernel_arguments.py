"""What each program of a node takes of the kernel's command line, by its first word to the boot server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from support.needs import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = Path(__file__).parents[2] / "nix/modules"
ONE, OTHER = "first-token_0123456789", "second-token_012345678"
PROGRAMS = ("report.sh", "follow.sh", "ec-install.sh")
ARGUMENT = "every_channel.report"

# @ is the address of the boot server; which token is shown to it, if any.
LINES = {
    f"quiet {ARGUMENT}=@/report?boot={ONE} panic=1\n": ONE,
    f"{ARGUMENT}=@/report?boot={ONE}": ONE,
    f"\t{ARGUMENT}=@/report?boot={ONE}\nquiet\n": ONE,
    f"quiet\n{ARGUMENT}=@/report?boot={ONE}\n": ONE,
    f"{ARGUMENT}=@/a/b~c/report?boot={ONE}\n": ONE,
    # The last one that is as it should be.
    f"{ARGUMENT}=@/report?boot={ONE} {ARGUMENT}=@/report?boot={OTHER}\n": OTHER,
    f"{ARGUMENT}=@/report?boot={ONE} {ARGUMENT}=@/report?boot=short {ARGUMENT}= {ARGUMENT}\n": ONE,
    f"{ARGUMENT}=@/report?boot={ONE} x{ARGUMENT}=@/report?boot={OTHER}\n": ONE,
    # Nothing is unquoted, and nothing of it run.
    f'{ARGUMENT}="@/report?boot={ONE}"\n': None,
    f'"{ARGUMENT}=@/report?boot={ONE}"\n': None,
    f"{ARGUMENT}=@/report?boot=$(echo${{IFS}}{ONE})\n": None,
    f"{ARGUMENT}=@/report?boot={ONE}\\\n": None,
    f"{ARGUMENT}=@/report?boot={ONE}*\n": None,
    f"{ARGUMENT}=@/report?boot={ONE}&x=y\n": None,
    f"{ARGUMENT}=@/report?boot={'x' * 129}\n": None,
    f"{ARGUMENT}=@/..%2f/report?boot={ONE}\n": None,
    f"{ARGUMENT}=https://h/report?boot={ONE}\n": None,
    f"{ARGUMENT}=file:///report?boot={ONE}\n": None,
    f"{ARGUMENT}=http://me@h/report?boot={ONE}\n": None,
    f"{ARGUMENT}=\n": None,
    f"{ARGUMENT}\n": None,
    f"Every_channel.report=@/report?boot={ONE}\n": None,
    "": None,
}


@dataclass
class Listener:
    """A boot server that wants nothing of anybody. ``tokens``: those that it was shown."""

    port: int = 0
    tokens: list[str] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def listen() -> Iterator[Listener]:
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            listener.tokens.extend(parse_qs(urlsplit(self.path).query).get("boot", []))
            listener.asked.set()
            self.send_response(403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    listener.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def start(program: str, line: str, directory: Path) -> subprocess.Popen[str]:
    cmdline = directory / "cmdline"
    cmdline.write_text(line)
    for name in ("run", "sys/class/net", "sys/class/dmi/id"):
        (directory / name).mkdir(parents=True)
    environment = {
        "PATH": os.environ["PATH"],
        "RUNTIME_DIRECTORY": str(directory / "run"),
        "REPORT_HEALTH_UNITS": "",
        "REPORT_HOLD_SECONDS": "0",
        "REPORT_JOURNAL_KIB": "0",
        "REPORT_REDACT": "/dev/null",
        "FOLLOW_SECONDS": "0.1",
        "FOLLOW_UNITS": "",
        "INSTALL_SYS": str(directory / "sys"),
        "INSTALL_DEFINITIONS": str(directory / "definitions"),
    }
    return subprocess.Popen(
        ["bash", MODULES / program, cmdline],
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_whom_a_program_of_a_node_turns_to(program: str, tmp_path: Path) -> None:
    require_tool("curl", "install curl")
    for number, (line, token) in enumerate(LINES.items()):
        directory = tmp_path / str(number)
        directory.mkdir()
        with listen() as listener:
            text = line.replace("=@", f"=http://127.0.0.1:{listener.port}")
            if program == "ec-install.sh":
                text = f"every_channel.install=first {text}"
            process = start(program, text, directory)
            try:
                end = time.monotonic() + 60
                while not listener.asked.is_set() and process.poll() is None:
                    assert time.monotonic() < end, line
                    time.sleep(0.02)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
            said, _ = process.communicate()
            shown = listener.tokens[0] if listener.tokens else None
            assert shown == token, (line, said)
            assert ONE not in said, line
            assert OTHER not in said, line
            if token is None:
                assert process.returncode == (2 if program == "ec-install.sh" else 0), said
