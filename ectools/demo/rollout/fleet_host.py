"""A boot host whose fleet is a group of machines, with releases: what they boot, a good one, a bad one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.demo.netboot.boot_host import DemoBootHost
from ectools.demo.netboot.lab import BOOT_IP, LAN
from ectools.demo.payload import stage_payload
from ectools.files import write_atomic
from ectools.netboot.api.client import FleetClient

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.demo.payload import Payload

DEMO_GROUP = "lab"
DEMO_MACHINES = {f"node-{number}": f"52:54:00:ec:b1:0{number}" for number in range(1, 5)}
"""Each machine's name → its MAC address."""
BROKEN_UNIT = "every-channel-node.service"
"""What has failed on whoever boots the bad release."""

_CONFIG = "netboot.json"
_FLEET = "fleet.toml"
_SOCKET = "control"


class DemoRelease(StrEnum):
    """The tags, in the order in which they are published."""

    FIRST = "boot-v2026.03.02"
    GOOD = "boot-v2026.03.09"
    BAD = "boot-v2026.03.16"


@dataclass(frozen=True)
class FleetHost(DemoBootHost):
    """All that it has is in ``directory``."""

    @property
    def client(self) -> FleetClient:
        """Of its control socket."""
        return FleetClient(self.directory / _SOCKET)

    def write_settings(self, first_stage: Path | None) -> str:
        local = {"strategy": "local", "localFile": str(first_stage)}
        nodes = [
            f'[nodes.{name}]\ngroup = "{DEMO_GROUP}"\nmatch.mac = ["{mac}"]\n'
            for name, mac in DEMO_MACHINES.items()
        ]
        fleet = "\n".join([f'[groups.{DEMO_GROUP}]\nrelease = "{DemoRelease.FIRST}"\n', *nodes])
        settings = {
            "listenIP": BOOT_IP,
            "hostname": BOOT_IP,
            "interface": LAN,
            "stateDir": str(self.directory / "state"),
            "fleet": {"file": str(self.directory / _FLEET)},
            **({} if first_stage is None else {"ipxe": local}),
        }
        text = json.dumps(settings, indent=2)
        write_atomic(self.directory / _CONFIG, f"{text}\n".encode())
        write_atomic(self.directory / _FLEET, fleet.encode())
        return f"{text}\n\n{fleet}".rstrip()

    def lay_out_artifacts(self, payload: Payload, *, mark: str) -> None:
        for release in DemoRelease:
            # no_timer_check: on a loaded machine, an emulated timer fails the kernel's test of it.
            words = ["no_timer_check", f"ec.mark={mark}-{release}", "ec.follow"]
            if release is DemoRelease.BAD:
                words.append(f"ec.failed={BROKEN_UNIT}")
            stage_payload(payload, self.directory / f"built-{release}", cmdline=" ".join(words))

    def list_commands(self) -> list[tuple[str, ...]]:
        archive = "ec-runner-x86_64-netboot-{}.tar.gz"
        commands: list[tuple[str, ...]] = [("netboot", "ipxe", "--config", _CONFIG)]
        for tag in DemoRelease:
            commands.append(("netboot", "pack", f"built-{tag}", "--tag", tag))
            commands.append(("netboot", "stage", "--config", _CONFIG, "--tarball", archive.format(tag)))
        return commands

    @property
    def serve_command(self) -> tuple[str, ...]:
        return ("netboot", "serve", "--config", _CONFIG, "--control-socket", _SOCKET)

    @staticmethod
    def build_start(release: DemoRelease, *, max_failures: int) -> tuple[str, ...]:
        """The command that begins a rollout: one machine first, then half of them, then all."""
        waves = ("--canary", "1", "--waves", "50%,100%", "--max-failures", str(max_failures))
        return ("rollout", "start", release, "--group", DEMO_GROUP, *waves, "--socket", _SOCKET)
