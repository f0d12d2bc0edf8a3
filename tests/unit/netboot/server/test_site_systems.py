"""A release with several systems: where each stands, who is let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.site_world import World
from support.staged import make_systems, put_release

from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.kernel import KernelArchitecture

if TYPE_CHECKING:
    from ectools.netboot.release.manifest import Release

X86_64, AARCH64 = KernelArchitecture.X86_64, KernelArchitecture.AARCH64


def stage_systems(world: World, names: dict[str, KernelArchitecture]) -> Release:
    release, files = make_systems(names)
    put_release(world.directory, release, files)
    return release


def test_each_system_stands_below_its_release(world: World) -> None:
    release = stage_systems(world, {"pc": X86_64, "arm": AARCH64})
    home = (b"releases", release.id.encode())
    assert world.find(f"releases/{release.id}/arm/bzImage").target == (*home, b"arm", b"bzImage")
    assert world.find("pc/initrd").target == (*home, b"pc", b"initrd")
    assert world.status("bzImage") == 404
    assert world.run(world.site.report())["systems"] == {"arm": "aarch64", "pc": "x86_64"}
    world.fetch("netboot.ipxe")
    world.fetch(f"releases/{release.id}/arm/bzImage")
    assert world.site.nodes.boots == 0
    world.fetch(f"releases/{release.id}/arm/initrd")
    assert world.site.nodes.boots == 1
    (entry,) = world.events("a node has everything it boots from")
    assert (entry["system"], entry["release"]) == ("arm", release.id)


def test_a_protected_file_is_meant_by_its_name_in_each_system(world: World) -> None:
    release = stage_systems(world, {"pc": X86_64, "arm": AARCH64})
    world.site.set_policy(world.policy("t0ken", chainTokenFile="/t", protectedFiles=["initrd"]))
    for path in (f"releases/{release.id}/arm/initrd", "pc/initrd"):
        with pytest.raises(RejectedError) as caught:
            world.find(path)
        assert (caught.value.status, caught.value.message) == (403, "a token is needed")
        assert world.find(path, X_Boot_Token="t0ken").target[-1] == b"initrd"  # type: ignore[index]
    assert world.status("arm/bzImage") == 200
    assert world.status("none/initrd") == 404
    # In a release of one system a directory is a directory.
    alone = world.stage("one")
    assert alone.name_in_archive("more/notes.txt") == "more/notes.txt"
    world.site.set_policy(world.policy("t0ken", chainTokenFile="/t", protectedFiles=["notes.txt"]))
    assert world.status("more/notes.txt") == 200


def test_who_is_let_in_for_nothing_is_told_of_once_a_release(world: World) -> None:
    both = {"pc": X86_64, "arm": AARCH64}
    world.site.set_policy(world.policy(**{"ipxe.arm64File": "/srv/arm64.efi", "ipxe.biosFile": "/srv/u"}))
    stage_systems(world, both)
    world.run(world.site.refresh())
    assert world.events("no system for machines") == []
    release = stage_systems(world, {"pc": X86_64, "other": X86_64})
    world.run(world.site.refresh())
    world.run(world.site.refresh())
    (entry,) = world.events("no system for machines")
    assert (entry["level"], entry["release"], entry["machines"]) == ("warning", release.id, ["arm64"])
    assert entry["systems"] == {"pc": "x86_64", "other": "x86_64"}
    stage_systems(world, {"arm": AARCH64, "arms": AARCH64})
    world.run(world.site.refresh())
    assert world.events("no system for machines")[1]["machines"] == ["x86_64", "bios"]


def test_a_boot_binary_that_was_only_found_lets_nobody_in_unsaid(world: World) -> None:
    """By hand, and where no binary is named: a distribution's for ARM64 is offered with the others."""
    (world.directory / "tftp").mkdir(exist_ok=True)
    (world.directory / "tftp/undionly.kpxe").touch()
    stage_systems(world, {"pc": X86_64, "other": X86_64})
    world.site.set_policy(world.policy())
    world.run(world.site.refresh())
    assert world.events("no system for machines") == []
    (world.directory / "tftp/ec-ipxe-arm64.efi").touch()
    world.site.set_policy(world.policy())
    (entry,) = world.events("no system for machines")
    assert (entry["level"], entry["machines"]) == ("info", ["arm64"])
