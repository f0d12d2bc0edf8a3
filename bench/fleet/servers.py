"""The servers, each on an address: the boot server with and without a fleet, nginx with the same files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.archive.file_record import FileRecord
from ectools.netboot.release.manifest import BootEntry, Release, System, build_id, render_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 8080
STATUS_PORT = 9090
KERNEL_BYTES, INITRD_BYTES = 1 << 16, 64 << 20
NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile 8192; pid nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  sendfile on; access_log access.log; default_type application/octet-stream;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server {{
    listen {address}:{port} backlog=1024; root {root};
    types {{ text/html html; text/css css; text/javascript js; }}
    location = /report {{ return 200 "ok\\n"; }}
  }}
}}
"""


@dataclass(frozen=True)
class RunningServer:
    """A server with its processes."""

    name: str
    address: str
    process: subprocess.Popen[bytes]

    def list_processes(self) -> list[int]:
        """Itself and its children."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cpu_seconds(self) -> float:
        """Of all its processes."""
        # The processor clock of a process (clock_getcpuclockid(3)): to the nanosecond, where /proc has ticks.
        return sum(time.clock_gettime((~each << 3) | 2) for each in self.list_processes())

    def memory_mb(self) -> float:
        """The most that its first process has had at a time."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1000


def write_release(state: Path, *, initrd_bytes: int = INITRD_BYTES, is_current: bool = True) -> str:
    """A staged release with an initrd to download; returns its id."""
    making = state / "releases" / "making"
    making.mkdir(parents=True)
    (making / "kernel").write_bytes(os.urandom(KERNEL_BYTES))
    (making / "initrd").write_bytes(os.urandom(initrd_bytes))
    files = {
        name: FileRecord(
            size=(making / name).stat().st_size,
            sha256=hashlib.sha256((making / name).read_bytes()).hexdigest(),
        )
        for name in ("kernel", "initrd")
    }
    boot = BootEntry(kernel="kernel", arguments=("init=/init",), initrds=("initrd",))
    source = {"source": "bench", "archive_name": "fleet.tar", "archive_sha256": "0" * 64}
    system = System(name="fleet", architecture=None, boot=boot, **source)
    release = Release(id=build_id(files), tag="fleet", staged_at=1, files=files, systems=(system,))
    (making / "release.json").write_bytes(render_manifest(release))
    making.rename(state / "releases" / release.id)
    if is_current:
        (state / "current").symlink_to(f"releases/{release.id}")
    return release.id


@contextlib.contextmanager
def start_ectools(
    directory: Path, address: str, *, fleet: Path | None = None, control: Path | None = None
) -> Iterator[RunningServer]:
    """``directory`` has a state directory of its own; with a fleet each machine is asked who it is."""
    raw = {
        "listenIP": address,
        "hostname": address,
        "httpPort": PORT,
        "stateDir": str(directory / "state"),
        "fleet": {
            "listen": f"{address}:{STATUS_PORT}",
            **({} if fleet is None else {"file": str(fleet)}),
        },
    }
    settings = directory / "netboot.json"
    settings.write_text(json.dumps(raw))
    argv = [sys.executable, "-m", "ectools.cli.main", "netboot", "serve", "--config", str(settings)]
    argv += [] if control is None else ["--control-socket", str(control)]
    with start(argv, directory / "ectools.log", address) as process:
        yield RunningServer("ectools", address, process)


@contextlib.contextmanager
def start_nginx(directory: Path, address: str) -> Iterator[RunningServer]:
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx is None:
        sys.exit("nginx is not on PATH; it is the peer of this benchmark (Debian: apt install nginx-light)")
    text = NGINX.format(address=address, port=PORT, root=directory / "peer")
    (directory / "nginx.conf").write_text(text)
    argv = [nginx, "-p", str(directory), "-c", "nginx.conf"]
    with start(argv, directory / "nginx.log", address) as process:
        yield RunningServer("nginx", address, process)


@contextlib.contextmanager
def start(argv: list[str], log: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(argv, stderr=file)
    try:
        for _ in range(400):
            if process.poll() is not None:
                sys.exit(f"{argv} did not start:\n{log.read_text()}")
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{address}:{PORT}/netboot.ipxe", timeout=5),
            ):
                break
            time.sleep(0.05)
        else:
            sys.exit(f"{argv} does not answer:\n{log.read_text()}")
        yield process
    finally:
        process.terminate()
        process.wait()
