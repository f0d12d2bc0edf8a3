"""The main job, whole: flake, image, signed release, boot host, firmware, a runner that is what was built."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from support.nixos_build import ROOT, Flake
from support.nixos_machine import MAC, Hardware, start_nixos

from .boot_host import SERVE, build_boot_host, run_boot_host
from .journal import Form
from .promises import check_network, check_power_off, check_system, check_up
from .release import build_image, pack_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.machine import Machine
    from support.netboot_lab import Lab

_POLL_SECONDS = 2.0


class Stage(StrEnum):
    """In the order in which they come; the value is what a person reads."""

    IMAGE = "the flake's runner is built, as an image"
    RELEASE = "the image is a release, its sums signed"
    BOOT_HOST = "the boot host's own system is built"
    SERVES = "its units have checked and staged the release, and serve"
    SCRIPT = "the machine's firmware has iPXE, and that the boot script"
    KERNEL = "iPXE has the kernel"
    INITRD = "iPXE has the initrd"
    UP = "the runner is up, and no unit has failed"
    SAME = "it is the system that was built"
    OFF = "it has powered itself off"


_LOADED = {"netboot.ipxe": Stage.SCRIPT, "kernel": Stage.KERNEL, "initrd": Stage.INITRD}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What ran: its store path, and the flake's source and revision that it carries; ``address``: where."""

    toplevel: str
    source: str
    revision: str
    paths: int
    address: str


def run_main_job(flake: Flake, lab: Lab, directory: Path, reached: Callable[[Stage], None]) -> Outcome:
    """From the flake to a runner that is off again. ``reached`` is called at each stage, from any thread.

    ``lab``: its router names the boot host. Raises AssertionError where something is not as it should be.
    """
    built, toplevel = build_image(flake)
    reached(Stage.IMAGE)
    packed = directory / "release"
    packed.mkdir()
    release = pack_release(flake, built, toplevel, packed)
    reached(Stage.RELEASE)
    host_system = build_boot_host(flake, release, directory / "boot-host-flake")
    reached(Stage.BOOT_HOST)
    hardware = Hardware(uefi=True, pxe=True, devices=["-no-reboot"])
    with run_boot_host(host_system, release, lab, directory) as host:
        reached(Stage.SERVES)
        with start_nixos(lab.add_plug(), hardware, directory / "machine") as machine:
            with _follow_loads(host, reached):
                state = machine.wait_boot()
            check_up(machine, state, Form.NETBOOT)
            reached(Stage.UP)
            address = check_network(machine, lab, MAC)
            check_system(machine, release.toplevel, release.closure)
            source = machine.run("readlink", "--canonicalize", "/etc/every-channel/flake").strip()
            assert source == str(flake.source), f"it carries {source}, and {flake.source} is the flake's"
            reached(Stage.SAME)
            check_power_off(machine)
            reached(Stage.OFF)
    return Outcome(
        toplevel=str(release.toplevel),
        source=source,
        revision=find_revision(),
        paths=len(release.closure),
        address=address,
    )


@contextlib.contextmanager
def _follow_loads(host: Machine, reached: Callable[[Stage], None]) -> Iterator[None]:
    """What the boot host logs of the machine's loads, told for the length of the block."""
    ended = threading.Event()

    def look() -> None:
        seen: set[Stage] = set()
        last = False
        while not last:
            last = ended.wait(_POLL_SECONDS)
            for entry in host.entries(SERVE):
                stage = _LOADED.get(str(entry.get("path")).rpartition("/")[2])
                is_load = entry.get("event") == "request" and entry.get("method") == "GET"
                if stage is not None and is_load and entry.get("status") == 200 and stage not in seen:
                    seen.add(stage)
                    reached(stage)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def find_revision() -> str:
    """The checkout's commit, with what git says of uncommitted changes."""
    argv = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty", "--match="]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no revision"
