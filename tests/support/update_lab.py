"""Machines with a system on their disk, as far as that goes here: what updates them, on loop devices.

The boot server is the real one, and so are Nix, its store and the file systems; the systems are small ones,
this machine is all machines, and firmware with systemd-boot is ``boot_loader``. The EFI system partition is
an ext4.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from support.boot_loader import boot_loader
from support.disk_lab import LAB_SECONDS, run_alone, run_tool, write_power_cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.boot_service import Service
    from support.disk_lab import Installable

MODULES = Path(__file__).parents[2] / "nix/modules"
MAC = "02:00:00:00:00:01"
NODE = "nuc"
ROOT_MIB, ESP_MIB = 256, 24
TRIES = 2


@dataclass(frozen=True)
class Volumes:
    """The two partitions of a disk, each a file."""

    root: Path
    esp: Path

    def copy(self, directory: Path) -> Volumes:
        directory.mkdir()
        other = Volumes(directory / "root.img", directory / "esp.img")
        for file, copied in ((self.root, other.root), (self.esp, other.esp)):
            run_tool(["cp", "--sparse=always", str(file), str(copied)])
        return other


@dataclass
class Node:
    """A machine that was installed. ``good``: the systems that come up."""

    service: Service
    directory: Path
    public_key: str
    volumes: Volumes
    good: set[str] = field(default_factory=set)
    boot_id: str = ""
    running: str = ""
    said: str = ""

    def install(self, system: Installable) -> None:
        """The first system on its disk, as an installation leaves it, and the boot server's word of it."""
        for file, size in ((self.volumes.root, ROOT_MIB), (self.volumes.esp, ESP_MIB)):
            with file.open("wb") as stream:
                stream.truncate(size << 20)
            run_tool(["mkfs.ext4", "-q", str(file)])
        token, release = self._order()
        cache = self.directory / "first-cache"
        for name, data in system.files.items():
            if name.startswith("cache/"):
                path = cache / name.removeprefix("cache/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        self.running = system.store_path
        self.good.add(system.store_path)
        base = f"http://{self.service.address}:{self.service.port}"
        script = self.directory / "first.sh"
        script.write_text(
            f"""\
set -e
mkdir -p "$FOLLOW_STATE"
nix-env --profile /nix/var/nix/profiles/system --set {system.store_path} --option substituters file://{cache}
FIRST=yes {system.store_path}/bin/switch-to-configuration boot
printf '%s %s\\n' node {NODE} url {base} token {token} > "$FOLLOW_STATE/credential"
printf '%s %s\\n' {system.store_path} {release} > "$FOLLOW_STATE/systems"
"""
        )
        done = self.run(script)
        assert done.returncode == 0, done.stderr

    def _order(self) -> tuple[str, str]:
        """The token and the release of a boot that installs, which says that it is done."""
        body = self.service.get(f"/netboot.ipxe?mac={MAC}&arch=x86_64").body.decode()
        token = re.search(r"report[?]boot=(\S+)", body)
        release = re.search(r"every_channel\.release=(\S+)", body)
        assert token is not None, body
        assert release is not None, body
        run = {"run": "r" * 16}
        steps = [
            {"step": "begin", "mac": MAC},
            {"step": "disk", "disk": "d"},
            {"step": "partition", "disk": "d"},
        ]
        for fields in [*({"stage": "installing", **each} for each in steps), {"stage": "installed"}]:
            self.post(f"/report?boot={token[1]}", {**fields, **run})
        return token[1], release[1]

    def post(self, path: str, fields: Mapping[str, str]) -> None:
        """A form, which has to be taken."""
        body = urlencode(fields).encode()
        with self.service.connect() as client:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: boot\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            client.socket.sendall(head.encode() + body)
            response = client.read_response(method="POST")
            assert response.status == 200, response

    def run(
        self,
        script: Path,
        *arguments: str,
        bash_env: Path | None = None,
        seconds: float = LAB_SECONDS,
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """A script on the machine, which takes its mounts and processes with it."""
        with self._attached() as (root, esp):
            inside = self.directory / "inside.sh"
            inside.write_text(self._write_inside(root, esp))
            return run_alone(
                ["sh", str(inside), str(script), *arguments],
                programs=self.directory / "bin",
                public_key=self.public_key,
                env={
                    "HOME": str(self.directory),
                    **self._list_variables(),
                    **({} if bash_env is None else {"SCRIPT_ENV": str(bash_env)}),
                    **env,
                },
                seconds=seconds,
            )

    def _list_variables(self) -> dict[str, str]:
        mnt, run = self.directory / "mnt", self.directory / "run"
        state = str(mnt / "root/state")
        return {
            "FOLLOW_STATE": state,
            "STATE_DIRECTORY": state,
            "FOLLOW_ESP": str(mnt / "esp"),
            "SETTLE_ESP": str(mnt / "esp"),
            "FOLLOW_TRIES": str(TRIES),
            "FOLLOW_RUNNING": str(run / "booted-system"),
            "SETTLE_RUNNING": str(run / "booted-system"),
            "DISK_RUNNING": str(run / "booted-system"),
            "SETTLE_GENERATIONS": "2",
            "SETTLE_SECONDS": "1",
            "SETTLE_TRIES": str(TRIES),
            "RUNTIME_DIRECTORY": str(run),
            "FOLLOW_DISK_BOOT": str(run / "arguments"),
            "FOLLOW_INSTALLED": str(MODULES / "follow-installed.sh"),
            "FOLLOW_SECONDS": "0.05",
            "FOLLOW_UNITS": "",
            "DISK_SYS": str(self.directory / "sys"),
            "REPORTING": "",
        }

    def _write_inside(self, root: str, esp: str) -> str:
        mnt, run = self.directory / "mnt", self.directory / "run"
        return f"""\
set -e
mount {root} {mnt}/root
mount {esp} {mnt}/esp
mkdir -p {mnt}/root/nix {mnt}/root/state
mount --bind {mnt}/root/nix /nix
mount --bind {run}/boot-id /proc/sys/kernel/random/boot_id
ln -sfn {self.running} {run}/booted-system
BASH_ENV=$SCRIPT_ENV bash "$@"
status=$?
exit $status
"""

    @contextlib.contextmanager
    def _attached(self) -> Iterator[tuple[str, str]]:
        for name in ("mnt/root", "mnt/esp", "run", "bin", "sys/class/net/eth0/device"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "sys/class/net/eth0/address").write_text(f"{MAC}\n")
        (self.directory / "run/boot-id").write_text(f"{self.boot_id or uuid.uuid4()}\n")
        for name, text in (
            ("systemctl", f'[ "$1" = show ] || echo "$*" >> {self.directory}/systemctl-said'),
            ("sleep", f'echo "$*" >> {self.directory}/turns; exec /bin/sleep 0.05'),
        ):
            program = self.directory / "bin" / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        devices = []
        try:
            for file in (self.volumes.root, self.volumes.esp):
                devices.append(run_tool(["losetup", "--find", "--show", str(file)]).strip())
            yield devices[0], devices[1]
        finally:
            for device in devices:
                run_tool(["losetup", "--detach", device])

    @contextlib.contextmanager
    def looked_at(self) -> Iterator[tuple[Path, Path]]:
        """Its root and its EFI system partition, as a power cut would leave them."""
        with self._attached() as (root, esp):
            places = (self.directory / "look-root", self.directory / "look-esp")
            with contextlib.ExitStack() as stack:
                for device, place in zip((root, esp), places, strict=True):
                    place.mkdir(exist_ok=True)
                    run_tool(["mount", device, str(place)])
                    stack.callback(run_tool, ["umount", str(place)])
                yield places

    def follow(self, *, bash_env: Path | None = None, turns: int = 0) -> bool:
        """follow.sh until it boots again, or stays as it is, or has asked ``turns`` times; whether it boots.

        ``said`` is what it printed.
        """
        said, asked = self.directory / "systemctl-said", self.directory / "turns"
        for file in (said, asked):
            file.unlink(missing_ok=True)
        out = self.directory / "followed"
        script = self.directory / "follow.sh"
        script.write_text(
            f"""\
bash {MODULES}/follow.sh /dev/null > {out} 2>&1 & child=$!
ends() {{
  grep -q reboot {said} || grep -q "stays as it is" {out} || ! kill -0 $child && return 0
  [ {turns} -gt 0 ] && [ "$(wc -l < {asked})" -ge {turns} ]
}}
until ends 2> /dev/null; do /bin/sleep 0.05; done
kill -KILL $child 2> /dev/null
wait $child 2> /dev/null
exit 0
"""
        )
        if bash_env is None:
            self.run(script)
            self.said = out.read_text()
        else:
            # The script itself, so that it is it that is cut.
            done = self.run(MODULES / "follow.sh", "/dev/null", bash_env=bash_env)
            self.said = done.stdout + done.stderr
        return said.exists() and "reboot" in said.read_text()

    @property
    def polls(self) -> int:
        """How often ``follow`` has asked what is next."""
        return (self.directory / "turns").read_text().splitlines().count("0.05")

    def settle(self, verb: str, *, bash_env: Path | None = None) -> subprocess.CompletedProcess[str]:
        """settle-update.sh."""
        return self.run(MODULES / "settle-update.sh", verb, bash_env=bash_env)

    def start(self) -> None:
        """It is switched on, boots by its boot menu, and finds out what has become of an update."""
        with self.looked_at() as (_, esp):
            self.running = boot_loader(esp)
        self.boot_id = str(uuid.uuid4())
        (self.directory / "run/arguments").unlink(missing_ok=True)
        done = self.settle("look")
        assert done.returncode == 0, done.stderr

    def tell(self, *, bash_env: Path | None = None) -> subprocess.CompletedProcess[str]:
        """The boot server is told as soon as there is a network: disk-boot.sh."""
        return self.run(MODULES / "disk-boot.sh", bash_env=bash_env)

    def boot(self) -> str:
        """It starts until a system comes up, which says so; its store path."""
        for _ in range(TRIES + 2):
            self.start()
            if self.running in self.good:
                self.come_up()
                return self.running
        raise AssertionError("no system comes up")

    def come_up(self) -> None:
        """The system that was booted is up."""
        done = self.tell()
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        done = self.settle("prove")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        words = (self.directory / "run/arguments").read_text()
        token = re.search(r"report[?]boot=(\S+)", words)
        release = re.search(r"every_channel\.release=(\S+)", words)
        assert token is not None, words
        assert release is not None, words
        report = {"stage": "up", "release": release[1], "system": self.running, "healthy": "yes"}
        self.post(f"/report?boot={token[1]}", report)

    def describe(self) -> dict[str, Any]:
        """What is on its disk."""
        with self.looked_at() as (root, esp):
            profiles = root / "nix/var/nix/profiles"
            profile = os.readlink(profiles / os.readlink(profiles / "system"))
            entries = {path.name: path.read_text() for path in sorted((esp / "loader/entries").iterdir())}
            kernels = sorted(path.name for path in (esp / "EFI/nixos").iterdir())
            state = sorted(path.name for path in (root / "state").iterdir())
            named = {
                word.rpartition("/")[2]
                for text in entries.values()
                for word in re.findall(r"^(?:linux|initrd|devicetree) (\S+)", text, re.MULTILINE)
            }
            whole = sorted(path.name for path in (root / profile.lstrip("/")).iterdir())
            return {
                "profile": profile,
                "entries": sorted(entries),
                "kernels": kernels,
                "named": sorted(named),
                "state": state,
                "whole": "content" in whole,
                "generations": sorted(path.name for path in profiles.glob("system-*-link")),
            }


def write_cut(directory: Path, volumes: Volumes, *, at: int, cut: Path) -> Path:
    """For $BASH_ENV: before the script's command ``at``, the disk as it is at that moment becomes ``cut``.

    What only the file systems' memory has is not on it. 0: it goes on, and ``cut`` has how many there were.
    """
    disks = {each: cut / each.name for each in (volumes.root, volumes.esp)}
    # A machine that is going down does nothing more.
    before = f'if [ -s "{directory}/systemctl-said" ]; then exit 0; fi'
    return write_power_cut(directory / "power-cut.sh", disks, at=at, count=cut, before=before)
