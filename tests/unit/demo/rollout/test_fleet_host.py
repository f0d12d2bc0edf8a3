"""The boot host of the demo of rollouts: its settings are valid, its releases three, one of them bad."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ectools.demo.payload import Payload
from ectools.demo.rollout.fleet_host import BROKEN_UNIT, DEMO_GROUP, DEMO_MACHINES, DemoRelease, FleetHost
from ectools.netboot.fleet.load import load_whole
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_its_settings_are_those_of_a_boot_host_with_a_fleet(tmp_path: Path) -> None:
    shown = FleetHost(tmp_path).write_settings(None)
    settings = load_netboot_settings(tmp_path / "netboot.json", environment={})
    fleet = load_whole(settings.fleet.part, settings.fleet.file)
    assert set(fleet.nodes) == set(DEMO_MACHINES)
    assert fleet.groups[DEMO_GROUP].release == DemoRelease.FIRST
    assert f"[groups.{DEMO_GROUP}]" in shown


def test_of_its_releases_one_is_bad_and_all_follow(tmp_path: Path) -> None:
    for name in ("kernel", "initrd"):
        (tmp_path / name).write_text(name)
    FleetHost(tmp_path).lay_out_artifacts(Payload.load(tmp_path), mark="m")
    scripts = {each: (tmp_path / f"built-{each}/netboot.ipxe").read_text() for each in DemoRelease}
    assert [each for each, text in scripts.items() if BROKEN_UNIT in text] == [DemoRelease.BAD]
    assert all("ec.follow" in text for text in scripts.values())
    # What is the same in all is the same release.
    assert len(set(scripts.values())) == len(DemoRelease)


def test_each_release_is_packed_and_staged_and_serve_is_asked_over_its_socket(tmp_path: Path) -> None:
    host = FleetHost(tmp_path)
    commands = host.list_commands()
    assert [words[1] for words in commands] == ["ipxe", *["pack", "stage"] * 3]
    packed = [re.search(r"boot-v[\d.]+\d", " ".join(words)) for words in commands[1:]]
    assert all(packed)
    start = host.build_start(DemoRelease.BAD, max_failures=0)
    assert start[:3] == ("rollout", "start", "boot-v2026.03.16")
    assert start[-1] == host.serve_command[-1]
