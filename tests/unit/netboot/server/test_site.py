"""Which release's files stand where, which releases are held, and what the nodes' steps come to."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, MultiDict
from support.log_lines import LogLines
from support.staged import make_release, make_systems, put_release

from ectools.errors import EcError
from ectools.netboot.http.admission import Standing
from ectools.netboot.http.handler import RequestInfo, Resource
from ectools.netboot.http.responses import Delivery
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.prune import Retention, prune
from ectools.netboot.release.store import ReleaseBusyError, ReleaseGoneError, ReleaseStore
from ectools.netboot.server.leases import LEASE_LINGER_SECONDS
from ectools.netboot.server.policy import ServingPolicy
from ectools.netboot.server.site import BootSite
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.netboot.release.manifest import Release

WHOLE = Delivery(status=200, sent=10, reached_end=True)
BROKEN = Delivery(status=200, sent=5, reached_end=False)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    """A state directory with its site, whose clock stands still."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.store = ReleaseStore(directory)
        self.site = BootSite(self.store, self.policy(), clock=self.clock)
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.log = LogLines()
        self.events = self.log.having

    def policy(self, *tokens: str, **options: Any) -> ServingPolicy:
        flags = {"stateDir": str(self.directory), "hostname": "192.0.2.10", **options}
        return ServingPolicy.build(load_netboot_settings(None, flags=flags, environment={}), tokens)

    def stage(self, text: str) -> Release:
        files = {"bzImage": f"kernel {text}".encode(), "initrd": b"initrd", "more/notes.txt": b"notes"}
        release = make_release({name: files[name] for name in ("bzImage", "initrd", "more/notes.txt")})
        (self.directory / "releases" / release.id / "more").mkdir(parents=True)
        for name, data in files.items():
            (self.directory / "releases" / release.id / name).write_bytes(data)
        staged = self.directory / "elsewhere"
        put_release(staged, release, {"bzImage": b"", "initrd": b""})
        (staged / "releases" / release.id / "release.json").rename(
            self.directory / "releases" / release.id / "release.json"
        )
        self.point(release.id)
        return release

    def point(self, release_id: str) -> None:
        link = self.directory / ".new"
        link.symlink_to(f"releases/{release_id}")
        link.rename(self.directory / "current")

    def find(self, path: str, *, peer: str = "192.0.2.7", **headers: str) -> Resource:
        info = RequestInfo(
            peer=peer,
            method="GET",
            segments=tuple(part.encode() for part in path.split("/")),
            query=MultiDict(),
            headers=CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}),
        )
        return self.run(self.site.find(info))

    def status(self, path: str) -> int:
        try:
            self.find(path)
        except RejectedError as error:
            return error.status
        return 200

    def fetch(
        self, path: str, delivery: Delivery = WHOLE, *, peer: str = "192.0.2.7", **headers: str
    ) -> None:
        found = self.find(path, peer=peer, **headers)
        assert found.on_complete is not None
        found.on_complete(delivery)

    def prune(self) -> dict[str, Retention]:
        (self.directory / ".staging").mkdir(exist_ok=True)
        return {each.release.id: each.retention for each in prune(self.store, keep=0)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.site.close()
    world.runner.close()


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


def test_a_release_that_cannot_be_served_leaves_the_one_before(world: World) -> None:
    old = world.stage("one")
    world.find("bzImage")
    world.point("sha256-" + "f" * 32)
    for _ in range(3):
        assert world.find("bzImage").target == (b"releases", old.id.encode(), b"bzImage")
    (complaint,) = world.events("cannot be served")
    assert complaint["serving"] == old.id
    new = world.stage("two")
    assert world.run(world.site.report())["release"] == new.id


def test_a_fault_of_a_look_is_counted_told_once_and_leaves_what_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = world.stage("one")
    world.find("netboot.ipxe")

    def fail(name: str) -> str:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(world.store, "find_link_id", fail)
    for _ in range(3):
        assert release.id.encode() in world.find("netboot.ipxe").target
    assert world.site.guard.failures == 3
    assert len(world.events("a fault of this program")) == 1


def test_a_release_whose_script_cannot_be_made_is_not_served(world: World) -> None:
    release = make_release({"bzImage": b"kernel"}, arguments=("a b",))
    put_release(world.directory, release, {"bzImage": b"kernel"})
    assert world.status("netboot.ipxe") == 503
    (complaint,) = world.events("cannot be served")
    assert "a b" in complaint["reason"]


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


def test_the_health_report(world: World) -> None:
    site = BootSite(world.store, world.policy(), clock=world.clock, details=lambda: {"dnsmasq": "running"})
    none = {"release": None, "tag": None, "systems": {}, "boots": 0, "dnsmasq": "running"}
    assert world.run(site.report()) == none
    assert site.release is None
    release = world.stage("one")
    site.nodes.boots = 3
    expected = {
        "release": release.id,
        "tag": "boot-v1",
        "systems": {"release": None},
        "boots": 3,
        "dnsmasq": "running",
    }
    assert world.run(site.report()) == expected
    assert site.release == release
    (world.directory / "current").unlink()
    assert world.run(site.report())["release"] is None
    site.close()


def test_what_clients_are_told_while_nothing_can_be_served(world: World) -> None:
    with pytest.raises(RejectedError) as caught:
        world.find("bzImage")
    assert caught.value.message == "no release is staged yet; try again"
    world.point("sha256-" + "f" * 32)
    with pytest.raises(RejectedError) as caught:
        world.find("bzImage")
    assert caught.value.message == "the release cannot be served; try again"
    # Once it can be, what was said before is forgotten.
    world.stage("one")
    world.find("bzImage")
    (world.directory / "current").unlink()
    with pytest.raises(RejectedError) as caught:
        world.find("bzImage")
    assert caught.value.message == "no release is staged yet; try again"


def test_each_switch_is_a_line(world: World) -> None:
    old = world.stage("one")
    world.find("bzImage")
    world.find("bzImage")
    new = world.stage("two")
    world.find("bzImage")
    lines = [(line["release"], line["tag"], line["before"]) for line in world.events("a release is served")]
    assert lines == [(old.id, "boot-v1", None), (new.id, "boot-v1", old.id)]


def test_each_new_complaint_is_a_line(world: World) -> None:
    for digit in "ffeef":
        world.point("sha256-" + digit * 32)
        assert world.status("bzImage") == 503
    lines = world.events("the current release cannot be served")
    assert [line["serving"] for line in lines] == [None, None, None]
    assert [line["level"] for line in lines] == ["error"] * 3
    # One that comes again after it was gone is told again.
    world.stage("one")
    world.find("bzImage")
    world.point("sha256-" + "f" * 32)
    world.find("bzImage")
    assert len(world.events("the current release cannot be served")) == 4


class Hanging:
    """A store's look at what is current, which waits until it is let on."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 0
        self.on = threading.Event()
        look = world.store.find_link_id

        def find_link_id(name: str) -> str | None:
            assert name == "current"
            self.looks += 1
            found = look(name)
            self.on.wait(60)
            return found

        monkeypatch.setattr(world.store, "find_link_id", find_link_id)


def test_a_look_that_hangs_leaves_what_is_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    release = world.stage("one")
    world.find("bzImage")
    hanging = Hanging(world, monkeypatch)
    for _ in range(3):
        assert world.run(world.site.refresh(seconds=0.01)) == release
    assert hanging.looks == 1  # one for all
    hanging.on.set()
    assert world.run(world.site.refresh()) == release


def test_who_asks_during_a_look_gets_one_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look may have seen what was current before the request came."""
    old = world.stage("one")
    world.find("bzImage")
    hanging = Hanging(world, monkeypatch)

    async def run() -> tuple[Release | None, Release | None]:
        first = asyncio.create_task(world.site.refresh())
        while not hanging.looks:  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0.001)
        world.stage("two")
        second = asyncio.create_task(world.site.refresh())
        await asyncio.sleep(0)
        hanging.on.set()
        return await first, await second

    first, second = world.run(run())
    assert first == old
    assert second is not None
    assert second.id != old.id
    assert hanging.looks == 2


def test_how_long_is_waited_for_a_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    wait = asyncio.wait

    async def note(tasks: Any, **options: float) -> Any:
        waited.append(options["timeout"])
        return await wait(tasks, **options)

    monkeypatch.setattr("ectools.netboot.server.site.asyncio.wait", note)
    world.run(world.site.refresh())
    world.run(world.site.report())
    assert waited == [5.0, 2.0]


def test_a_release_by_its_id_says_why_it_is_not_served(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    release = world.stage("one")
    other = "sha256-" + "0" * 32
    for error, status, message in (
        (ReleaseGoneError("gone"), 404, "not found"),
        (ReleaseBusyError("busy"), 503, "the release is locked at the moment; try again"),
        (EcError("a bad manifest"), 500, "the release cannot be served"),
    ):

        def fail(_: str, error: EcError = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(world.store, "hold", fail)
            with pytest.raises(RejectedError) as caught:
                world.find(f"releases/{other}/bzImage")
        assert (caught.value.status, caught.value.message) == (status, message)
    (line,) = world.events("a release cannot be served")
    assert (line["level"], line["release"], line["reason"]) == ("error", other, "a bad manifest")
    assert world.status(f"releases/{release.id}/bzImage") == 200


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
