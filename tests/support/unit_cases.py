"""The services that are tried on a real systemd: for each, a host that has it, and what is to hold there.

A further service is a further entry of CASES.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.machine import Machine

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
    capabilities: int = 0
    """The bounding set, where it is not empty."""
    credential: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of the machine's administrator: mode and path → text."""
    server: str | None = None
    """Pattern of the command line of a child that it starts again when it dies."""
    ready_port: int | None = None
    """The TCP port that answers as soon as the unit is active."""
    stop_seconds: float = 30
    """How long a stop may take; systemd's own time for it is longer."""


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _guest_case() -> Case:
    unit = "every-channel-ipxe-qemu"
    options = {
        "enable": True,
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
    }
    config = {"services": {"every-channel": {"ipxe-qemu": options}}}
    changed = {"services": {"every-channel": {"ipxe-qemu": {"name": "another-name"}}}}

    def serves(machine: Machine) -> bool:
        return any(
            entry["event"] == "request" and entry["path"] == "/netboot.ipxe"
            for entry in machine.entries(unit, this_run=True)
        )

    def says_changed(machine: Machine) -> bool:
        return "another-name" in machine.run("pgrep", "--list-full", "--full", "qemu-system-x86_64 ")

    return Case(
        name="ipxe-qemu",
        unit=unit,
        state="/var/lib/every-channel/ipxe-qemu",
        config=config,
        changed=_merge(config, changed),
        says_changed=says_changed,
        serves=serves,
        families=frozenset({"UNIX", "INET", "INET6"}),
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
        ready_port=8080,
    )


CASES = {case.name: case for case in (_guest_case(),)}


def is_answering(machine: Machine, port: int) -> bool:
    """Whether a TCP connection to the machine's own port is taken."""
    script = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10)"
    return machine.execute(["python3", "-c", script, str(port)]).status == 0


def measure(act: Callable[[], object]) -> float:
    """How long it takes, in seconds."""
    start = time.monotonic()
    act()
    return time.monotonic() - start
