"""The boot host, set up as by hand: a release packed, staged and served, and boot files written."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.demo.netboot.lab import BOOT_IP, LAN, LabError
from ectools.demo.payload import stage_payload
from ectools.files import write_atomic
from ectools.netboot.protocols import load_protocols
from ectools.processes import describe_exit, launch, run

if TYPE_CHECKING:
    import subprocess

    from ectools.demo.netboot.lab import Lab
    from ectools.demo.payload import Payload

_TAG = "boot-v2026.03.02"
_ARCHIVE = f"ec-runner-x86_64-netboot-{_TAG}.tar.gz"
_CONFIG = "netboot.json"
_PROGRAM = (sys.executable, "-m", "ectools.cli.main")
_COMMAND_SECONDS = 300.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class DemoBootHost:
    """All that it has is in ``directory``."""

    directory: Path

    @property
    def log_file(self) -> Path:
        """What ``serve`` logs, a JSON object a line."""
        return self.directory / "serve.log"

    def write_settings(self, first_stage: Path | None) -> str:
        """The settings file; returns its text. ``first_stage``: an iPXE in place of the system's own."""
        local = {"strategy": "local", "localFile": str(first_stage)}
        settings = {
            "listenIP": BOOT_IP,
            "hostname": BOOT_IP,
            "interface": LAN,
            "stateDir": str(self.directory / "state"),
            **({} if first_stage is None else {"ipxe": local}),
        }
        text = json.dumps(settings, indent=2)
        write_atomic(self.directory / _CONFIG, f"{text}\n".encode())
        return text

    def lay_out_artifacts(self, payload: Payload, *, mark: str) -> None:
        """What a build of a release gives: a directory with kernel, initrd and netboot.ipxe."""
        # no_timer_check: on a loaded machine, an emulated timer fails the kernel's test of it.
        stage_payload(payload, self.directory / "artifacts", cmdline=f"no_timer_check ec.mark={mark}")

    def list_commands(self) -> list[tuple[str, ...]]:
        """The commands that make it ready to serve, each without ``ectools``."""
        return [
            ("netboot", "pack", "artifacts", "--tag", _TAG),
            ("netboot", "stage", "--config", _CONFIG, "--tarball", _ARCHIVE),
            ("netboot", "ipxe", "--config", _CONFIG),
        ]

    def run_command(self, words: tuple[str, ...]) -> str:
        """What a command of ``list_commands`` prints. Raises ProcessError with what it said else."""
        return run([*_PROGRAM, *words], cwd=self.directory, timeout=_COMMAND_SECONDS).stdout

    @property
    def serve_command(self) -> tuple[str, ...]:
        return ("netboot", "serve", "--config", _CONFIG)

    def start(self, lab: Lab, *, end_with_parent: bool) -> subprocess.Popen[bytes]:
        """Serve in the lab, ready when this returns; the caller stops it. Raises LabError."""
        ready = self.directory / "ready.json"
        argv = [*lab.inside(lab.boot), *_PROGRAM, *self.serve_command, "--json", "--log-format", "json"]
        with ready.open("wb") as out, self.log_file.open("wb") as log:
            process = launch(
                argv, stdout=out, stderr=log, cwd=self.directory, end_with_parent=end_with_parent
            )
        deadline = time.monotonic() + _COMMAND_SECONDS
        # HTTP is ready before dnsmasq, which is kept running beside it, has TFTP's port.
        while not (ready.read_bytes().endswith(b"\n") and hears_tftp(process.pid)):
            status = process.poll()
            if status is not None or time.monotonic() > deadline:
                process.kill()
                how = "it does not come up" if status is None else describe_exit(status)
                said = self.log_file.read_text("utf-8", "replace").rstrip()
                raise LabError(f"{show_command(self.serve_command)}: {how}\n{said}")
            time.sleep(_POLL_SECONDS)
        return process


def hears_tftp(pid: int) -> bool:
    """Whether somebody in the network namespace of a process has TFTP's port (proc(5), /proc/PID/net/udp)."""
    ending = f":{load_protocols().ports.tftp:04X}"
    lines = Path(f"/proc/{pid}/net/udp").read_text().splitlines()
    return any(line.split()[1].endswith(ending) for line in lines[1:])


def show_command(words: tuple[str, ...]) -> str:
    """As a person types it."""
    return shlex.join(["ectools", *words])
