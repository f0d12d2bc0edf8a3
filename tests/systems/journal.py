"""Warnings of a system that boots or goes off, each with why it is there; any other one is a fault."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Form(StrEnum):
    """How a system comes to run."""

    NETBOOT = "netboot"
    ISO = "iso"
    DISK = "disk"


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A warning by its text, without its sender. ``always``: the forms in which each boot says it, where
    ``scripted`` is set by the scripted stage 1 alone."""

    pattern: str
    why: str
    always: frozenset[Form] = frozenset()
    scripted: bool = False

    def matches(self, line: str) -> bool:
        return re.fullmatch(self.pattern, line) is not None


EVERYWHERE = frozenset(Form)

EXPLAINED = (
    # An emulated machine.
    Explained(
        pattern=r"tsc: .*|TSC .*|hrtimer: interrupt took \d+ ns|hpet: Lost \d+ RTC interrupts",
        why="QEMU emulates its clocks, slowly",
    ),
    Explained(
        pattern=r"APIC calibration not consistent with PM-Timer: .*|clocksource: .*",
        why="QEMU emulates its clocks, slowly",
    ),
    Explained(pattern=r"ata\d+\.\d+: LPM support broken, forcing max_power", why="QEMU's CD drive"),
    Explained(pattern=r"amd_pstate: .*", why="QEMU's processor has no power states"),
    Explained(
        pattern=r".*Worker \[\d+\] processing SEQNUM=\d+ is taking a long time",
        why="a loaded machine emulates",
    ),
    Explained(pattern=r"workqueue: \S+ hogged CPU for .*", why="a loaded machine emulates"),
    Explained(
        pattern=r"device-mapper: core: CONFIG_IMA_DISABLE_HTABLE is disabled\..*", why="of Debian's kernel"
    ),
    Explained(
        pattern=r"platform regulatory\.0: Direct firmware load for regulatory\.db failed with error -2",
        why="wireless regulation, without a wireless card",
    ),
    # What a system of this flake is.
    Explained(
        pattern=r"booting system configuration /nix/store/.*",
        why="NixOS's stage 2 names the system, as loud as a warning",
        always=EVERYWHERE,
        scripted=True,
    ),
    Explained(
        pattern=r"systemd-networkd\.socket: Socket unit configuration has changed while unit has been "
        r"running, no open socket file descriptor left\..*",
        why="a stage 1 that fetches its store has networkd, and stage 2 has not",
    ),
    Explained(
        pattern=r"Got extra auxiliary fds with notification message, closing them\."
        r"|systemd-networkd\.service: Got notification message from PID \d+, but reception is disabled\.?",
        why="that networkd ends at the switch to stage 2, and has its last word then",
    ),
    Explained(
        pattern=r"/dev/\S+: Can't open blockdev",
        why="NixOS mounts an image's medium as if it could be written to; mount then does it read-only",
    ),
    Explained(pattern=r"No swap; memory pressure usage will be degraded", why="the systems have no swap"),
    # A nixpkgs whose binaries are another distribution's.
    Explained(
        pattern=r"/etc/tmpfiles\.d/nix-daemon\.conf:\d+: Failed to resolve group 'nix-users': .*",
        why="Debian's Nix has a group of its own",
    ),
    Explained(
        pattern=r"script_runreason: No such file or directory", why="Debian's dhcpcd looks below /usr/lib"
    ),
)


def judge_warnings(lines: Iterable[str], form: Form, *, scripted: bool = True) -> list[str]:
    """What is wrong with a boot's warnings: those that nothing explains, and explanations that are stale.

    ``scripted``: its stage 1 is, and not systemd's.
    """
    seen = {line.strip() for line in lines} - {""}
    faults = [f"unexplained: {line}" for line in sorted(seen) if not any(e.matches(line) for e in EXPLAINED)]
    expected = [e for e in EXPLAINED if form in e.always and (scripted or not e.scripted)]
    stale = [e for e in expected if not any(e.matches(line) for line in seen)]
    return faults + [f"stale: no boot from {form} says {entry.pattern!r} any more" for entry in stale]


# What is said after the journal has ended, on the console.
EXPLAINED_AT_THE_END = (
    Explained(
        pattern=r"\(sd-u?mount\)\[\d+\]: Failed to unmount /\S+: Device or resource busy"
        r"|systemd-shutdown\[\d+\]: (Unable to|Cannot) finalize remaining .*",
        why="what runs until the end runs from that file system (docs/RUNNER_IMAGES.md)",
    ),
    Explained(
        pattern=r"systemd-shutdown\[\d+\]: Could not detach loopback /dev/loop\d+: Device or resource busy",
        why="it has the store from which systemd-shutdown runs (docs/RUNNER_IMAGES.md)",
    ),
    Explained(
        pattern=r"watchdog: watchdog\d+: watchdog did not stop!", why="it counts until the power is off"
    ),
    Explained(pattern=r"reboot: (Power down|System halted)", why="the end"),
)

_LAST_TARGET = "Power Off"


def judge_power_off(console: str) -> list[str]:
    """What nothing explains of the kernel's and systemd-shutdown's words at the end of a console."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console)
    found = re.findall(r"^\[ *\d+\.\d+\] (.*?)\r?$", plain.rpartition(_LAST_TARGET)[2], re.MULTILINE)
    if not found:
        return [f"nothing is said after {_LAST_TARGET!r}"]
    return [line for line in found if not any(each.matches(line) for each in EXPLAINED_AT_THE_END)]
