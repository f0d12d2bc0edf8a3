"""A boot host as people set one up: a release staged, boot files written, ``ectools netboot serve`` run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.boot_binaries import find_ipxe
from support.netboot_lab import BOOT_IP, NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.netboot_lab import Lab

    from ectools.demo.payload import Payload

TOKEN = "t0ken-of-the-chain"
BOOT_FILE = "ec-ipxe.efi"
# no_timer_check: on a loaded machine, an emulated timer fails the kernel's test of it.
X86_ARGUMENTS = "console=ttyS0 panic=-1 no_timer_check"
_ECTOOLS = [sys.executable, "-m", "ectools.cli.main", "netboot"]


def build_tarball(
    path: Path, payload: Payload, *, mark: str, padding: int = 0, arguments: str = X86_ARGUMENTS
) -> Path:
    """A release: the demo's guest, which says ``EC-GUEST-UP MARK``, its initrd with zeros at its end."""
    arguments = f"{arguments} ec.mark={mark} initrd=initrd ${{cmdline}}"
    files = {
        "kernel": payload.kernel.read_bytes(),
        "initrd": payload.initrd.read_bytes() + bytes(padding),
        "netboot.ipxe": f"#!ipxe\nkernel bzImage {arguments}\ninitrd initrd\nboot\n".encode(),
    }
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def run_netboot(*arguments: str) -> str:
    """Standard output of ``ectools netboot …``, which must not fail."""
    done = subprocess.run([*_ECTOOLS, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


@dataclass
class BootHost:
    """A boot host in a directory of its own. ``start`` it in a lab; it can be killed and started again."""

    directory: Path
    process: subprocess.Popen[str] | None = None

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    def write_settings(
        self, *, proxy: bool, attempts: int = 2, suite: str = "forky", arm64: bool = False, **more: Any
    ) -> None:
        """The settings file; ``more`` replaces whole options of the first level. ``suite`` is the iPXE's."""
        tree = find_ipxe(suite) / "usr/lib/ipxe"
        self.write_token(TOKEN)
        settings = {
            "listenIP": BOOT_IP,
            "hostname": BOOT_IP,
            "interface": "lan0",
            "stateDir": str(self.state_dir),
            "chainTokenFile": str(self.directory / "token"),
            "proxyDhcp": {"enable": proxy, "subnet": NETWORK if proxy else None},
            "ipxe": {
                "strategy": "local",
                "localFile": str(tree / "ipxe-amd64.efi"),
                "biosFile": str(tree / "undionly.kpxe"),
                "arm64File": str(tree / "ipxe-arm64.efi") if arm64 else None,
                "attempts": attempts,
                "onFailure": "reboot",
                "rebootSeconds": 0,
            },
            **more,
        }
        (self.directory / "netboot.json").write_text(json.dumps(settings))

    def write_token(self, token: str) -> None:
        (self.directory / "token").write_text(token)

    def stage(self, *tarballs: Path) -> None:
        """A release of one system, or of several."""
        options = [word for tarball in tarballs for word in ("--tarball", str(tarball))]
        run_netboot("stage", "--config", self._config, *options)

    def copy_releases(self, other: BootHost) -> None:
        """What another host has staged. The files are shared: replace them, write into none."""
        shutil.copytree(other.state_dir, self.state_dir, symlinks=True, copy_function=os.link)

    def write_boot_files(self) -> None:
        run_netboot("ipxe", "--config", self._config)

    def find_file(self, name: str) -> Path:
        """A file of the current release."""
        return (self.state_dir / "current").resolve() / name

    def start(self, lab: Lab, *arguments: str) -> None:
        """Serve, ready when this returns; with further ``arguments`` of the command."""
        with (self.directory / "serve.log").open("a") as log:
            self.process = subprocess.Popen(
                [*lab.inside(lab.boot), *_ECTOOLS, "serve", "--config", self._config, "--json", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), self.log_text

    def kill(self) -> None:
        """SIGKILL: what is being sent breaks off, and dnsmasq dies with it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        self.process = None

    @property
    def log_text(self) -> str:
        return (self.directory / "serve.log").read_text()

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The whole lines of its log with this event and these fields."""
        lines = self.log_text.split("\n")[:-1]
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == event and fields.items() <= entry.items()]

    def count_loads(self, address: str) -> int:
        """How often a client has loaded the x86-64 UEFI boot binary whole, over TFTP or HTTP."""
        over_tftp = self.events("TFTP has sent a file", client=address, file=BOOT_FILE)
        over_http = self.events("request", peer=address, method="GET", path=f"/{BOOT_FILE}", status=200)
        return len(over_tftp) + len([each for each in over_http if "aborted" not in each])

    @property
    def _config(self) -> str:
        return str(self.directory / "netboot.json")


@contextlib.contextmanager
def serve_in(lab: Lab, host: BootHost, *arguments: str) -> Iterator[BootHost]:
    """The host, serving, for the length of the block."""
    host.start(lab, *arguments)
    try:
        yield host
    finally:
        if host.process is not None:
            host.kill()
