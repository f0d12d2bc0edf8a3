"""What stands at which path, for whom, by the settings in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict, MultiDict
from support.site_world import WHOLE, World

from ectools.errors import EcError
from ectools.netboot.http.admission import Standing
from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.release.prune import Retention
from ectools.netboot.server.leases import LEASE_LINGER_SECONDS

if TYPE_CHECKING:
    pass


def test_before_anything_is_staged_nodes_are_asked_to_come_again(world: World) -> None:
    for path in ("netboot.ipxe", "bzImage", "none"):
        assert world.status(path) == 503
    assert world.status("releases/sha256-" + "0" * 32 + "/bzImage") == 404
    assert world.run(world.site.report())["release"] is None


def test_the_layout(world: World) -> None:
    release = world.stage("one")
    home = (b"releases", release.id.encode())
    assert world.find("bzImage").target == (*home, b"bzImage")
    assert world.find("more/notes.txt").target == (*home, b"more", b"notes.txt")
    assert world.find(f"releases/{release.id}/initrd").target == (*home, b"initrd")
    assert world.find("autoexec.ipxe").target == (b"tftp", b"autoexec.ipxe")
    assert world.find("ec-ipxe.efi").target == (b"tftp", b"ec-ipxe.efi")
    script = world.find("netboot.ipxe").target
    assert isinstance(script, bytes)
    assert script.startswith(b"#!ipxe\n")
    assert f"/releases/{release.id}/bzImage".encode() in script


@pytest.mark.parametrize(
    "path",
    [
        "",
        "none",
        "release.json",
        "releases",
        "releases/",
        "releases/current/bzImage",
        "current/bzImage",
        "previous/bzImage",
        "more",
        "more/",
        "bzImage/",
        "tftp/ec-ipxe.efi",
        "tftp/autoexec.ipxe",
        "tftp.json",
        ".lock",
        "other.efi",
        "releases/ID",
        "releases/ID/",
        "releases/ID/release.json",
        "releases/ID/none",
        "releases/ID/more",
        "releases/ID/autoexec.ipxe",
        "releases/ID/releases/ID/bzImage",
        "releases/sha256-" + "0" * 32 + "/bzImage",
        "releases/sha256-" + "0" * 31 + "/bzImage",
        "releases/SHA256-" + "0" * 32 + "/bzImage",
        "RELEASES/ID/bzImage",
    ],
)
def test_all_else_is_not_found(world: World, path: str) -> None:
    release = world.stage("one")
    assert world.status(path.replace("ID", release.id)) == 404


def test_a_new_release_is_served_at_once_and_the_old_one_as_long_as_somebody_uses_it(world: World) -> None:
    old = world.stage("one")
    world.find("netboot.ipxe")
    download = world.find(f"releases/{old.id}/initrd")
    new = world.stage("two")
    assert world.find("bzImage").target == (b"releases", new.id.encode(), b"bzImage")
    assert world.find(f"releases/{old.id}/bzImage").on_complete is not None
    world.fetch(f"releases/{old.id}/bzImage")
    world.clock.now += 100 * LEASE_LINGER_SECONDS
    world.run(world.site.sweep())
    assert world.prune()[old.id] is Retention.HELD
    # The two downloads that were begun above end now.
    assert download.on_complete is not None
    download.on_complete(WHOLE)
    world.site._leases.end(old.id)
    world.clock.now += LEASE_LINGER_SECONDS - 1
    world.run(world.site.sweep())
    assert world.prune()[old.id] is Retention.HELD
    world.clock.now += 2
    world.run(world.site.sweep())
    assert world.prune() == {new.id: Retention.CURRENT, old.id: Retention.REMOVED}
    assert world.status(f"releases/{old.id}/bzImage") == 404


def test_the_current_release_is_held_although_nobody_asks(world: World) -> None:
    old = world.stage("one")
    world.run(world.site.sweep())
    world.clock.now += 100 * LEASE_LINGER_SECONDS
    world.run(world.site.sweep())
    (world.directory / "current").unlink()
    assert world.prune()[old.id] is Retention.HELD


def test_new_rules_make_another_script(world: World) -> None:
    world.stage("one")
    world.site.set_policy(world.policy("t0ken", protectedFiles=["netboot.ipxe", "initrd"]))
    script = world.find("netboot.ipxe").target
    assert isinstance(script, bytes)
    assert b"t0ken" in script
    world.site.set_policy(world.policy(hostname="192.0.2.99"))
    script = world.find("netboot.ipxe").target
    assert isinstance(script, bytes)
    assert b"http://192.0.2.99:8080" in script
    assert b"t0ken" not in script


def test_rules_of_which_no_script_can_be_made_change_nothing(world: World) -> None:
    world.stage("one")
    world.find("bzImage")
    before = world.find("netboot.ipxe").target
    with pytest.raises(EcError):
        world.site.set_policy(world.policy(hostname="a b"))
    assert world.find("netboot.ipxe").target == before


def test_the_gate_is_the_policys(world: World) -> None:
    world.site.set_policy(world.policy(httpAllowedCIDRs=["192.0.2.0/24"], trustedProxies=["10.0.0.1"]))
    assert world.site.classify("192.0.2.7") is Standing.CLIENT
    assert world.site.classify("198.51.100.1") is Standing.STRANGER
    assert world.site.classify("10.0.0.1") is Standing.PROXY
    info = RequestInfo(
        peer="198.51.100.1", method="GET", segments=(b"x",), query=MultiDict(), headers=CIMultiDict()
    )
    with pytest.raises(RejectedError):
        world.site.check(info)


def test_scripts_send_the_first_token(world: World) -> None:
    policy = world.policy("first", "second")
    assert policy.token == "first"
    assert world.policy().token is None


def test_the_boot_files_are_those_of_the_settings_in_force(world: World) -> None:
    names = {(b"undionly.kpxe",), (b"ec-ipxe-ia32.efi",), (b"ec-ipxe-arm64.efi",), (b"autoexec.ipxe",)}
    assert world.policy().boot_files == {*names, (b"ec-ipxe.efi",)}
    assert world.policy(tftpBootFilename="a.efi").boot_files == {*names, (b"a.efi",)}
    chain = world.policy(
        tftpBootFilename="sb/shimx64.efi",
        ipxe={"extraFiles": {"sb/grubx64.efi": "/g", "grub/grub.cfg": "/c"}},
    )
    assert chain.boot_files == {
        *names,
        *((b"sb", name) for name in (b"shimx64.efi", b"grubx64.efi", b"autoexec.ipxe")),
        (b"grub", b"grub.cfg"),
    }


def test_files_below_directories_are_served(world: World) -> None:
    release = world.stage("one")
    world.site.set_policy(
        world.policy(tftpBootFilename="sb/shim.efi", ipxe={"extraFiles": {"more/notes.txt": "/n"}})
    )
    assert world.find("sb/shim.efi").target == (b"tftp", b"sb", b"shim.efi")
    assert world.find("sb/autoexec.ipxe").target == (b"tftp", b"sb", b"autoexec.ipxe")
    # A boot file comes before a release's; by its id the release's is there all the same.
    assert world.find("more/notes.txt").target == (b"tftp", b"more", b"notes.txt")
    there = world.find(f"releases/{release.id}/more/notes.txt").target
    assert there == (b"releases", release.id.encode(), b"more", b"notes.txt")
    for path in ("ec-ipxe.efi", "sb", "sb/", "sb/none.efi", "sb/shim.efi/"):
        assert world.status(path) == 404
