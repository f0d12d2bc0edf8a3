"""A power cut at many points of an installation: the next boot ends it, whatever is on the disk by then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.boot_service import boot_service, stage, write_settings
from support.disk_lab import Installable, write_power_cut
from support.install_lab import (
    MAC,
    Disk,
    Installer,
    build_system,
    describe_installed,
    is_killed,
    replace_disk,
    require_install_tools,
    write_nixos_enter,
)

pytestmark = [pytest.mark.nix, pytest.mark.timeout(3600)]

POINTS = 40
"""Cuts in one installation, spread over all commands of the program."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Installable:
    require_install_tools()
    return build_system(tmp_path_factory.mktemp("system"), "1")


@pytest.fixture
def settings_file(system: Installable, tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    stage(tmp_path / "state", system.files)
    settings = write_settings(tmp_path)
    raw = json.loads(settings.read_text())
    group = {"boot": "install", "install": {"disk": {"id": "ata-ONE"}}}
    raw["fleet"] |= {"groups": {"g": group}, "nodes": {"nuc": {"group": "g", "match": {"mac": [MAC]}}}}
    settings.write_text(json.dumps(raw))
    return settings


def order(settings_file: Path) -> None:
    """The operator has the node installed again."""
    argv = [sys.executable, "-m", "ectools.cli.main", "fleet", "boot-once", "nuc", "install"]
    subprocess.run([*argv, "--socket", str(settings_file.parent / "control")], check=True)


def cut_power(work: Path, disk: Disk, *, at: int, to: Path) -> Path:
    """For $BASH_ENV. 0: it is not cut, and ``to`` has how many commands there were."""
    return write_power_cut(work / "power-cut.sh", {disk.file: to}, at=at, count=to)


def cut_and_go_on(machine: Installer, disk: Disk, at: int, work: Path) -> Disk:
    """The power is cut before command ``at``; then the machine boots until it boots from its disk."""
    cmdline = machine.boot()
    assert cmdline is not None
    cut = work / f"cut-{at}.img"
    done = machine.install(cmdline, bash_env=cut_power(work, disk, at=at, to=cut))
    assert is_killed(done) if cut.exists() else done.returncode == 0, done.stderr[-2000:]
    if not cut.exists():
        return disk
    disk = replace_disk(machine, disk, cut)
    again = machine.boot()
    if again is not None:
        done = machine.install(again)
        assert done.returncode == 0, f"after a cut at {at}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert machine.boot() is None
    return disk


def test_a_power_cut_anywhere(
    system: Installable, settings_file: Path, nixpkgs: Path, tmp_path: Path
) -> None:
    """First on an empty disk, then again and again over what is there, whose host keys stay."""
    work = tmp_path / "work"
    work.mkdir()
    nixos_enter = write_nixos_enter(nixpkgs, tmp_path / "bin")
    arguments = ("--control-socket", str(tmp_path / "control"))
    with boot_service(settings_file, arguments=arguments) as service:
        service.wait_for_event("the control socket is there")
        machine = Installer(service, tmp_path, nixos_enter, system.public_key)
        disk = machine.add_disk("ata-ONE")
        count = work / "count"
        cmdline = machine.boot()
        assert cmdline is not None
        done = machine.install(cmdline, bash_env=cut_power(work, disk, at=0, to=count))
        assert done.returncode == 0, done.stderr[-2000:]
        commands = int(count.read_text())
        keys = describe_installed(disk, tmp_path / "mnt")["keys"]
        cuts = 0
        for point in range(POINTS):
            order(settings_file)
            before = disk
            disk = cut_and_go_on(machine, disk, 1 + commands * point // POINTS, work)
            found = describe_installed(disk, tmp_path / "mnt")
            assert found["system"] == system.store_path
            assert "content" in found["complete"]
            assert found["keys"] == keys
            assert found["left"] == []
            if disk is not before:
                cuts += 1
                before.file.unlink()
        # What is written over has fewer commands than an empty disk.
        assert cuts > POINTS // 2
