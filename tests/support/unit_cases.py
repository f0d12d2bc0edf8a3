"""The services that are tried on a real systemd: for each, a host that has it, and what is to hold there.

A further service is a further entry of CASES.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.boot_binaries import find_ipxe
from support.boot_host import build_tarball
from support.machine import Machine
from support.machine_image import LAN_ADDRESS

from ectools.demo.payload import build_payload

LAN = f"{LAN_ADDRESS.rpartition('.')[0]}.0/24"
TARBALL = "ec-runner-x86_64-netboot-test.tar.gz"
TOKEN = "a/secret=token:7"
"""What every service's credential holds."""


@dataclass(frozen=True)
class Case:
    """One service; ``config`` and ``changed`` configure hosts, for a first and a second activation."""

    name: str
    unit: str
    state: str
    config: Mapping[str, Any]
    changed: Mapping[str, Any]
    says_changed: Callable[[Machine], bool]
    """Whether what runs has taken up the changed settings."""
    serves: Callable[[Machine], bool]
    """Whether it does its work; of what it has logged, only the present run counts."""
    families: frozenset[str]
    """The network address families that it may open sockets of."""
    owned: Mapping[str, str]
    """Path below ``state`` → mode, user and group, once it serves."""
    kept: tuple[str, ...]
    """Those of the paths that stay when the service is disabled."""
    credential: str
    """The name of its only secret."""
    kinds: tuple[str, ...] = ("nspawn", "qemu")
    """The kinds of machine that it runs in."""
    writes: bool = True
    """Whether it may write to its state directory."""
    capabilities: int = 0
    """The bounding set, where it is not empty."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of the machine's administrator: mode and path → text."""
    server: str | None = None
    """Pattern of the command line of a child that it starts again when it dies."""
    ready: tuple[str, int] | None = None
    """The address and TCP port that answer as soon as the unit is active."""
    stop_seconds: float = 30
    """How long a stop may take; systemd's own time for it is longer."""


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _guest_case(*, lan: bool) -> Case:
    """With a LAN where the kernel is the machine's own: a container has no /dev/tapN."""
    unit = "every-channel-ipxe-qemu"
    options = {
        "enable": True,
        "restartIfChanged": True,
        "memoryMiB": 128,
        "vcpus": 1,
        "disk": {"size": "64M"},
        "boot": {
            "http": {"root": "/srv/netboot"},
            "userNet": {"model": "virtio-net-pci"},
            "chainUrl": "http://10.0.2.2:8080/netboot.ipxe",
            "chainTokenFile": "/etc/chain-token",
        },
        # The guest stays in iPXE, which knows no power button.
        "shutdown": {"powerdownSeconds": 1},
        "lan": {"enable": lan, "macvtap": {"interface": "lan0"}},
    }
    config = {"services": {"every-channel": {"ipxe-qemu": options}}}
    changed = {"services": {"every-channel": {"ipxe-qemu": {"name": "another-name"}}}}

    def serves(machine: Machine) -> bool:
        assert machine.execute(["test", "-e", "/sys/class/net/ecqemu0"]).status == (0 if lan else 1)
        # By the MAC that both have, the host's would be the guest's.
        assert not lan or machine.run("ip", "-6", "address", "show", "dev", "ecqemu0") == ""
        return any(
            entry["event"] == "request" and entry["path"] == "/netboot.ipxe"
            for entry in machine.entries(unit, this_run=True)
        )

    def says_changed(machine: Machine) -> bool:
        return "another-name" in machine.run("pgrep", "--list-full", "--full", "qemu-system-x86_64 ")

    return Case(
        name="ipxe-qemu-lan" if lan else "ipxe-qemu",
        kinds=("qemu",) if lan else ("nspawn",),
        unit=unit,
        state="/var/lib/every-channel/ipxe-qemu",
        config=config,
        changed=_merge(config, changed),
        says_changed=says_changed,
        serves=serves,
        families=frozenset({"UNIX", "INET", "INET6"}),
        capabilities=0,
        owned={
            "": f"750 {unit} {unit}",
            "tftp": f"750 {unit} {unit}",
            "disk.qcow2": f"600 {unit} {unit}",
            "tftp/undionly.kpxe": f"600 {unit} {unit}",
        },
        # The boot file, which holds the token, goes with the guest.
        kept=("", "disk.qcow2"),
        credential="chain-token",
        files={
            "0600 /etc/chain-token": f"{TOKEN}\n",
            "0644 /srv/netboot/netboot.ipxe": "#!ipxe\nshell\n",
        },
        server="netboot http",
        ready=("127.0.0.1", 8080),
    )


_DAEMON = """#!/usr/bin/python3
import json, os, signal, sys

def say(event, **more):
    print(json.dumps({"event": event, "level": "info", **more}), flush=True)

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with open(sys.argv[sys.argv.index("--config") + 1]) as file:
    say("settings", settings=json.load(file))
with open(os.environ["CREDENTIALS_DIRECTORY"] + "/publish-key") as key, open("published", "w") as state:
    say("publishing", key_length=len(key.read()), state=state.write("1"))
while True:
    signal.pause()
"""


def _node_case() -> Case:
    unit = "every-channel-node"

    def configure(level: str) -> dict[str, Any]:
        options = {
            "enable": True,
            # A placeholder, as all packages are: its programs are the machine's.
            "package": {"package": "coreutils"},
            "settings": {"log": {"level": level}},
            "credentials": {"publish-key": "/etc/publish-key"},
        }
        return {"services": {"every-channel": {"node": options}}}

    def find(machine: Machine, event: str) -> list[dict[str, Any]]:
        return [entry for entry in machine.entries(unit, this_run=True) if entry["event"] == event]

    return Case(
        name="node",
        unit=unit,
        state="/var/lib/every-channel/node",
        config=configure("info"),
        changed=configure("debug"),
        serves=lambda machine: bool(find(machine, "publishing")),
        says_changed=lambda machine: any(
            entry["settings"] == {"log": {"level": "debug"}} for entry in find(machine, "settings")
        ),
        families=frozenset({"UNIX", "INET", "INET6", "NETLINK"}),
        owned={"": f"750 {unit} {unit}", "published": f"600 {unit} {unit}"},
        kept=("", "published"),
        credential="publish-key",
        files={"0600 /etc/publish-key": f"{TOKEN}\n", "0755 /usr/bin/ec-node": _DAEMON},
    )


def _netboot_case() -> Case:
    unit = "every-channel-netboot"
    base = f"http://{LAN_ADDRESS}:8080"
    options = {
        "enable": True,
        "listenIP": LAN_ADDRESS,
        "hostname": LAN_ADDRESS,
        "interface": "lan0",
        "chainTokenFile": "/etc/chain-token",
        # The unit has them from the kernel, too.
        "httpAllowedCIDRs": [LAN],
        "proxyDhcp": {"enable": True, "subnet": LAN},
        "release": {"tarball": f"/nix/files/{TARBALL}"},
        # The placeholder packages of a nixpkgs for evaluation have no iPXE.
        "ipxe": {
            "strategy": "local",
            "localFile": "/nix/files/ipxe-amd64.efi",
            "biosFile": "/nix/files/undionly.kpxe",
            "extraFiles": {"more/ipxe.efi": "/nix/files/ipxe-amd64.efi"},
        },
    }
    config = {
        "networking": {"nftables": {"enable": True}},
        "services": {"every-channel": {"netboot": options}},
    }
    changed = {"protectedFiles": ["netboot.ipxe", "initrd"]}
    return Case(
        name="netboot",
        unit=unit,
        state="/var/lib/every-channel/netboot",
        config=config,
        changed=_merge(config, {"services": {"every-channel": {"netboot": changed}}}),
        says_changed=lambda machine: fetch(machine, f"{base}/initrd") == 403,
        serves=lambda machine: fetch(machine, f"{base}/initrd") == 200,
        families=frozenset({"UNIX", "INET", "INET6"}),
        owned={
            "": f"750 {unit} {unit}",
            "tftp": f"750 {unit} {unit}",
            "tftp/autoexec.ipxe": f"640 {unit} {unit}",
            # dnsmasq's user looks in, whatever the unit's umask is.
            "tftp/more": f"755 {unit} {unit}",
            "tftp/more/ipxe.efi": f"644 {unit} {unit}",
            "tftp/more/autoexec.ipxe": f"640 {unit} {unit}",
            "current": f"777 {unit} {unit}",
            "fleet": f"750 {unit} {unit}",
            "fleet/state.sqlite3": f"600 {unit} {unit}",
        },
        kept=("", "tftp", "current", "fleet", "fleet/state.sqlite3"),
        writes=False,
        credential="chain-token",
        files={"0600 /etc/chain-token": f"{TOKEN}\n"},
        ready=(LAN_ADDRESS, 8080),
        stop_seconds=40,
    )


def find_files(directory: Path) -> dict[str, Path]:
    """What the services find in /nix/files: boot binaries, and a release."""
    binaries = find_ipxe("forky") / "usr/lib/ipxe"
    tarball = build_tarball(directory / TARBALL, build_payload(), mark="machine")
    return {TARBALL: tarball, **{name: binaries / name for name in ("ipxe-amd64.efi", "undionly.kpxe")}}


CASES = {
    case.name: case for case in (_guest_case(lan=False), _guest_case(lan=True), _node_case(), _netboot_case())
}


def is_answering(machine: Machine, address: str, port: int) -> bool:
    """Whether the machine takes a TCP connection to itself."""
    script = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)"
    return machine.execute(["python3", "-c", script, address, str(port)]).status == 0


def fetch(machine: Machine, url: str) -> int:
    """The status that the machine gets when it asks itself for a URL; 0 where nobody answers."""
    script = """
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=60).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print(0)
"""
    return int(machine.run("python3", "-c", script, url))


def measure(act: Callable[[], object]) -> float:
    """How long it takes, in seconds."""
    start = time.monotonic()
    act()
    return time.monotonic() - start
