"""``./dev demo systems`` and ``./dev demo install``: with real NixOS systems, drawn as it goes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from support.boot_host import BOOT_FILE
from support.buildable import build_environment, find_buildable_nixpkgs
from support.netboot_lab import BOOT_IP, ROUTER_IP, build_netboot_lab
from support.nixos_build import open_flake
from support.nixos_machine import MAC

from ectools.demo.draw import Drawing, print_section
from ectools.demo.stages import Timeline
from ectools.errors import EcError

from .install_job import DISK_GIB, DISK_SERIAL, InstallOutcome, InstallStage, run_install_job
from .main_job import Outcome, Stage, find_revision, run_main_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from support.nixos_build import Flake

_TICK_SECONDS = 0.1
_HELP = {"help_option_names": ["-h", "--help"]}

_NETWORK = f"""\
router   {ROUTER_IP}   gives leases; its "Network Boot" names {BOOT_IP} and {BOOT_FILE}
boot     {BOOT_IP}   a NixOS with nixosModules.ec-netboot
machine  {MAC}: UEFI firmware, one NIC, no disk"""


class Progress:
    """The stages, drawn from a thread of its own while the work is done in another."""

    def __init__(self, stream: TextIO, stages: type[StrEnum]) -> None:
        self.timeline = Timeline(stages)
        self._drawing = Drawing(stream)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._drawing.stopped(self.timeline)

    def reached(self, stage: StrEnum) -> None:
        with self._lock:
            if self.timeline.note(stage, time.monotonic() - self._began):
                self._drawing.reached(self.timeline, stage)

    def _tick(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            with self._lock:
                self._drawing.tick(self.timeline, time.monotonic() - self._began)


@click.group(context_settings=_HELP)
def main() -> None:
    """What is done with real NixOS systems."""


@main.command("systems", context_settings=_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def systems(*, as_json: bool) -> None:
    """Build the flake's runner, release it, and boot it from a boot host that is a NixOS system too.

    The image is built, packed and signed; a boot host of the flake's module, a system of its own, checks,
    stages and serves it; a machine's firmware boots it over the network; and the runner is asked whether it
    is what was built. It takes root, a nixpkgs that builds here ($BUILDABLE_NIXPKGS or <debian-nixpkgs>),
    and minutes. Exit status 0 only if all of that holds. Nothing is left but what Nix has built.
    """
    with _told("the runner is not what was built, or did not come up"):
        outcome, stages = _run()
    if as_json:
        click.echo(json.dumps({**asdict(outcome), "stages": stages}))
        return
    click.echo(f"{outcome.address} ran {outcome.toplevel},")
    click.echo(
        f"all {outcome.paths} store paths of it, with the source of {outcome.revision}: {outcome.source}"
    )


@main.command("install", context_settings=_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def install(*, as_json: bool) -> None:
    """Have a machine with an empty disk installed by its boot server, and boot from that disk.

    A runner that comes over the network and one that is installed are built, packed as one release, signed
    and served; a machine's firmware boots the first, which installs the second, starts the machine anew and
    reports from its disk. It takes what `./dev demo systems` takes. Exit status 0 only if all of that holds.
    """
    with _told("the machine was not installed, or does not boot from its disk"):
        outcome, stages = _run_install()
    if as_json:
        click.echo(json.dumps({**asdict(outcome), "stages": stages}))
        return
    click.echo(f"{outcome.disk} has {outcome.toplevel}, which reported after {outcome.seconds} s")


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """What goes wrong within the block is the command's error."""
    try:
        yield
    except (pytest.skip.Exception, pytest.fail.Exception) as lacks:
        raise click.ClickException(str(lacks)) from None
    except (AssertionError, EcError) as error:
        raise click.ClickException(f"{what}: {error}") from error


def _open_flake() -> Flake:
    if os.geteuid() != 0:
        raise click.ClickException("it takes root: a container, network namespaces, and a store to build in")
    env = build_environment()
    flake = open_flake(find_buildable_nixpkgs(env), env)
    print_section(sys.stderr, "flake", f"{find_revision()}, with the packages of {flake.nixpkgs}")
    return flake


def _run_install() -> tuple[InstallOutcome, dict[str, float]]:
    flake = _open_flake()
    network = _NETWORK.replace("a NixOS with nixosModules.ec-netboot", "ectools netboot serve")
    disk = f"an empty disk of {DISK_GIB} GiB, {DISK_SERIAL}"
    print_section(sys.stderr, "network", "namespaces; no other is touched", network.replace("no disk", disk))
    print_section(sys.stderr, "installation", "seconds a stage, and since the start")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ec-systems-")))
        lab = stack.enter_context(build_netboot_lab(directory, boot_file=BOOT_FILE))
        progress = stack.enter_context(Progress(sys.stderr, InstallStage))
        outcome = run_install_job(flake, lab, directory, progress.reached)
    return outcome, progress.timeline.by_name()


def _run() -> tuple[Outcome, dict[str, float]]:
    flake = _open_flake()
    print_section(sys.stderr, "network", "namespaces; no other network is touched", _NETWORK)
    print_section(sys.stderr, "main job", "seconds a stage, and since the start")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ec-systems-")))
        lab = stack.enter_context(build_netboot_lab(directory, boot_file=BOOT_FILE))
        progress = stack.enter_context(Progress(sys.stderr, Stage))
        outcome = run_main_job(flake, lab, directory, progress.reached)
    return outcome, progress.timeline.by_name()


if __name__ == "__main__":
    main()
