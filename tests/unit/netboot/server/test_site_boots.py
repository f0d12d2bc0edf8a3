"""What files that are asked for tell of boots, and whose fault it is where one is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.site_world import BROKEN, World

from ectools.netboot.http.responses import Delivery
from ectools.netboot.release.prune import Retention
from ectools.netboot.server.leases import LEASE_LINGER_SECONDS

if TYPE_CHECKING:
    pass


def test_a_boot_is_told_when_a_node_has_all_of_it(world: World) -> None:
    release = world.stage("one")
    world.site.nodes.first_stage("192.0.2.7", "ec-ipxe.efi")
    world.clock.now += 1
    world.fetch("autoexec.ipxe")
    world.fetch("netboot.ipxe")
    world.fetch("bzImage")
    world.fetch("more/notes.txt")  # an initrd of this one
    assert world.run(world.site.report())["boots"] == 0
    world.clock.now += 4
    world.fetch("initrd", BROKEN)
    assert world.run(world.site.report())["boots"] == 0
    world.fetch("initrd")
    (boot,) = world.events("everything")
    assert (boot["client"], boot["release"], boot["tag"]) == ("192.0.2.7", release.id, "boot-v1")
    assert boot["seconds"] == 5
    assert len(world.events("not fetch a boot file to its end")) == 1
    assert world.run(world.site.report())["boots"] == 1


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_file_of_a_release_that_is_gone_is_the_servers_fault(world: World, status: int) -> None:
    """The words of the error are no part of the file."""
    release = world.stage("one")
    world.fetch("bzImage", Delivery(status=status, sent=10, reached_end=False))
    (event,) = world.events("a file of a release cannot be served")
    assert (event["level"], event["release"], event["file"]) == ("error", release.id, "bzImage")
    assert world.events("a node") == []


def test_what_a_client_need_not_or_may_not_have_is_nobodys_fault(world: World) -> None:
    world.stage("one")
    for status in (304, 412, 416, 503):
        world.fetch("bzImage", Delivery(status=status, sent=0, reached_end=False))
    assert world.events("cannot be served") == world.events("a node") == []


def test_the_probe_boots_nothing(world: World) -> None:
    world.stage("one")
    asked = ("ec-ipxe.efi", "netboot.ipxe", "bzImage", "more/notes.txt", "initrd")
    for path in asked:
        world.fetch(path, User_Agent="ectools-probe")
    world.fetch("bzImage", BROKEN, User_Agent="ectools-probe")
    assert world.events("a node") == world.events("not fetch") == []
    assert (world.run(world.site.report())["boots"], len(world.site.nodes._boots)) == (0, 0)
    for path in asked:
        world.fetch(path, User_Agent="iPXE/2.0.0")
    assert world.run(world.site.report())["boots"] == 1


def test_nodes_are_told_apart_and_a_second_boot_is_a_second_one(world: World) -> None:
    world.stage("one")
    for peer in ("192.0.2.7", "192.0.2.8", "192.0.2.7"):
        world.clock.now += 100
        for path in ("netboot.ipxe", "bzImage", "more/notes.txt"):
            world.fetch(path, peer=peer)
    world.clock.now += 3
    world.fetch("initrd", peer="192.0.2.8")
    world.fetch("initrd", peer="192.0.2.7")
    boots = world.events("everything")
    assert [(boot["client"], boot["seconds"]) for boot in boots] == [("192.0.2.8", 103), ("192.0.2.7", 3)]


def test_files_of_two_releases_are_no_boot(world: World) -> None:
    world.stage("one")
    for path in ("netboot.ipxe", "bzImage", "more/notes.txt"):
        world.fetch(path)
    world.stage("two")
    world.fetch("initrd")
    assert world.run(world.site.report())["boots"] == 0


def test_nodes_fill_no_memory(world: World) -> None:
    for number in range(10_000):
        world.site.nodes.first_stage(str(number), "ec-ipxe.efi")
    assert len(world.site.nodes._boots) <= 4096


def test_a_file_that_is_gone_names_its_release_and_what_to_do(world: World) -> None:
    release = world.stage("one")
    world.fetch(f"releases/{release.id}/more/notes.txt", Delivery(status=404, sent=9, reached_end=False))
    (line,) = world.events("a file of a release cannot be served")
    assert (line["file"], line["status"]) == ("more/notes.txt", 404)
    assert "releases verify" in line["hint"]


def test_a_boot_file_that_did_not_arrive_is_no_step(world: World) -> None:
    world.stage("one")
    world.fetch("ec-ipxe.efi", BROKEN)
    world.clock.now += 5
    for path in ("netboot.ipxe", "bzImage", "more/notes.txt", "initrd"):
        world.fetch(path)
    (boot,) = world.events("everything")
    assert boot["seconds"] == 0


def test_a_boot_file_that_arrived_is_the_first_step(world: World) -> None:
    world.stage("one")
    world.fetch("ec-ipxe.efi")
    world.clock.now += 5
    for path in ("netboot.ipxe", "bzImage", "more/notes.txt", "initrd"):
        world.fetch(path)
    (boot,) = world.events("everything")
    assert boot["seconds"] == 5


def test_a_client_whom_nobody_can_tell_is_unknown(world: World) -> None:
    world.stage("one")
    world.fetch("netboot.ipxe", peer="nobody")
    (line,) = world.events("boot script")
    assert line["client"] == "unknown"


def test_who_has_a_script_keeps_its_release(world: World) -> None:
    old = world.stage("one")
    world.find("netboot.ipxe")
    world.clock.now += LEASE_LINGER_SECONDS
    world.find("netboot.ipxe")
    world.stage("two")
    world.clock.now += LEASE_LINGER_SECONDS
    world.run(world.site.sweep())
    assert world.prune()[old.id] is Retention.HELD
    world.clock.now += 1
    world.run(world.site.sweep())
    assert world.prune()[old.id] is Retention.REMOVED
