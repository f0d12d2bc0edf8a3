"""Installations at the boot server, on a real store: begun, killed anywhere, ended; and who is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.desk_site import DeskSite, run_at_desk

from ectools.errors import EcError
from ectools.netboot.boots.installing import InstallRefusedError, InstallWord
from ectools.netboot.boots.model import BootState, InstallStep, NodeStage
from ectools.netboot.boots.register import ReportError
from ectools.netboot.fleet.live import ContradictionError
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.server.install_desk import InstallDesk

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

BASE = "http://192.0.2.10:8080"
MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"
SYSTEM = f"/nix/store/{'a' * 32}-nixos-system-ec-runner-26.05"
FLEET: dict[str, Any] = {
    "groups": {
        "g": {"boot": "install", "install": {"disk": {"minGiB": 8}, "erase": True, "hostKeys": "make"}},
        "plain": {"install": {"disk": {"serial": "D1"}}},
    },
    "nodes": {
        "nuc": {"group": "g", "match": {"mac": [MAC]}},
        "other": {"group": "plain", "match": {"mac": [OTHER], "serial": "S2"}},
    },
}
STEPS = [each for each in InstallStep if each is not InstallStep.DONE]
ALL_STEPS = [*STEPS, InstallStep.DONE]


class Site(DeskSite):
    """What a boot server has of it."""

    document = FLEET

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.runs = 0

    def open_desk(self) -> None:
        self.desk = InstallDesk(self.boots, self.fleet, clock=lambda: self.now)

    def target(self, node: str = "nuc") -> NodeTarget:
        return self.fleet.assign(self.fleet.need(node)).boot

    async def boot(self, node: str = "nuc") -> Machine:
        """The machine asks for its script, is to install, and comes up to its installer."""
        plan = self.fleet.assign(self.fleet.need(node)).install
        assert plan is not None
        self.now += 60
        boot, token = await self.boots.begin(
            machine=f"mac {MAC if node == 'nuc' else OTHER}",
            node=node,
            group="g",
            release="sha256-x",
            tag="v1",
            system="ec-runner-x86_64-netboot",
            client="192.0.2.7",
            within=plan.within,
            store_path=SYSTEM,
            order=plan.order,
        )
        self.boots.see(boot.id, NodeStage.KERNEL)
        self.runs += 1
        return Machine(self, token, boot.id, f"run-of-a-machine-{self.runs}", MAC if node == "nuc" else OTHER)


class Machine:
    """A machine that installs itself, on one boot."""

    def __init__(self, site: Site, token: str, boot_id: str, run: str, mac: str) -> None:
        self.site, self.token, self.boot_id, self.run, self.mac = site, token, boot_id, run, mac

    async def say(self, step: InstallStep, **fields: Any) -> str:
        if step is InstallStep.BEGIN:
            fields.setdefault("known_by", (("mac", self.mac),))
        if step in (InstallStep.DISK, InstallStep.PARTITION):
            fields.setdefault("disk", "ata-DISK")
        word = InstallWord(run=self.run, step=step, **fields)
        _, answer = await self.site.desk.receive(self.token, word, base_url=BASE)
        return answer.decode()

    async def go(self, *steps: InstallStep) -> None:
        for step in steps:
            await self.say(step)


def run(directory: Path, scenario: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
    run_at_desk(Site(directory), scenario)


def test_a_node_is_installed_once_and_boots_from_its_disk(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        machine = await site.boot()
        plan = dict(line.split(" ", 1) for line in (await machine.say(InstallStep.BEGIN)).splitlines())
        assert plan == {
            "node": "nuc",
            "order": "first",
            "system": SYSTEM,
            "cache": f"{BASE}/releases/sha256-x/cache",
            "disk-min-bytes": str(8 << 30),
            "erase": "yes",
            "host-keys": "make",
        }
        await machine.go(*ALL_STEPS[1:])
        assert site.target() is NodeTarget.DISK
        boot = await site.boots.find(machine.boot_id)
        assert boot is not None
        assert (boot.state, boot.last_stage) == (BootState.BOOTING, NodeStage.INSTALLED)
        await site.reopen()
        assert site.target() is NodeTarget.DISK
        kinds = [event.kind for event in await site.store.events()]
        assert kinds == ["node-install-begun", "node-installed"]

    run(tmp_path, scenario)


@pytest.mark.parametrize("killed_after", range(len(ALL_STEPS) + 1))
@pytest.mark.parametrize("server_too", [False, True])
def test_killed_anywhere_it_is_installed_by_the_next_boot(
    tmp_path: Path, killed_after: int, server_too: bool
) -> None:
    async def scenario(site: Site) -> None:
        first = await site.boot()
        await first.go(*ALL_STEPS[:killed_after])
        if server_too:
            await site.reopen()
        if killed_after == len(ALL_STEPS):
            assert site.target() is NodeTarget.DISK
            await first.say(InstallStep.DONE)  # its answer was lost
            return
        assert site.target() is NodeTarget.INSTALL
        second = await site.boot()
        # The one before is nobody's any more.
        if killed_after:
            with pytest.raises(InstallRefusedError):
                await first.say(ALL_STEPS[killed_after])
        told = await second.say(InstallStep.BEGIN)
        # What it has begun to write to is known, and nothing else.
        has_begun = killed_after > ALL_STEPS.index(InstallStep.PARTITION)
        assert ("begun ata-DISK\n" in told) is has_begun
        await second.go(*ALL_STEPS[1:])
        assert site.target() is NodeTarget.DISK

    run(tmp_path, scenario)


@pytest.mark.parametrize("step", ALL_STEPS)
def test_what_cannot_be_kept_is_not_done(tmp_path: Path, step: InstallStep) -> None:
    """A full disk of the boot host: the machine writes to nothing, or says once more that it is done."""

    async def scenario(site: Site) -> None:
        machine = await site.boot()
        await machine.go(*ALL_STEPS[: ALL_STEPS.index(step)])
        site.down = True
        with pytest.raises(EcError):
            await machine.say(step)
        site.down = False
        assert site.target() is NodeTarget.INSTALL
        await machine.go(*ALL_STEPS[ALL_STEPS.index(step) :])
        assert site.target() is NodeTarget.DISK

    run(tmp_path, scenario)


def test_who_is_refused(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        machine = await site.boot()
        word = InstallWord(run="r" * 16, step=InstallStep.BEGIN, known_by=(("mac", MAC),))
        with pytest.raises(ReportError):
            await site.desk.receive("no-token-of-any-boot", word, base_url=BASE)
        # Another machine, with its arguments.
        for known_by in ((), (("mac", OTHER),), (("mac", MAC), ("serial", "S2")), (("mac", "garbage"),)):
            with pytest.raises(InstallRefusedError, match="the machine that came with its token"):
                await machine.say(InstallStep.BEGIN, known_by=known_by)
        await machine.go(*ALL_STEPS[:3])
        # The same token, once more.
        machine.run = "another-run-of-it"
        with pytest.raises(InstallRefusedError, match="the token was used"):
            await machine.say(InstallStep.BEGIN)
        boot = await site.boots.find(machine.boot_id)
        assert boot is not None
        assert (boot.install and boot.install.run) == "run-of-a-machine-1"

    run(tmp_path, scenario)


@pytest.mark.parametrize("step", [InstallStep.BEGIN, InstallStep.PARTITION])
def test_a_node_of_another_state_is_not_written_to(tmp_path: Path, step: InstallStep) -> None:
    async def scenario(site: Site) -> None:
        machine = await site.boot()
        await machine.go(*ALL_STEPS[: ALL_STEPS.index(step)])
        await site.fleet.hold("nuc", by="alice")
        with pytest.raises(InstallRefusedError, match="not to be installed any more"):
            await machine.say(step)
        await site.fleet.release("nuc", by="alice")
        site.set_fleet({**FLEET, "groups": {**FLEET["groups"], "g": {"boot": "network"}}})
        with pytest.raises(InstallRefusedError):
            await machine.say(step)
        override = site.fleet.get_override("nuc")
        assert override is None or override.install is None

    run(tmp_path, scenario)


def test_somebody_has_a_node_installed_again(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        assert site.target("other") is NodeTarget.NETWORK
        for _ in range(2):
            await site.fleet.boot_once("other", NodeTarget.INSTALL, by="alice")
            machine = await site.boot("other")
            assert "disk-serial D1\n" in await machine.say(InstallStep.BEGIN)
            await machine.go(*ALL_STEPS[1:])
            assert site.target("other") is NodeTarget.DISK
            site.now += 60
        # Over the network again, when somebody says so, and not before.
        await site.fleet.release("other", by="alice")
        assert site.target("other") is NodeTarget.NETWORK
        with pytest.raises(ContradictionError):
            await site.fleet.release("other", by="alice")

    run(tmp_path, scenario)


def test_what_is_said_twice_changes_nothing(tmp_path: Path) -> None:
    """The answer to the first was lost: the node boots from its disk all the same, and it is told once."""

    async def scenario(site: Site) -> None:
        await site.fleet.boot_once("other", NodeTarget.INSTALL, by="alice")
        machine = await site.boot("other")
        for step in ALL_STEPS:
            await machine.say(step)
            site.now += 1
            await machine.say(step)
        assert site.target("other") is NodeTarget.DISK
        kinds = [event.kind for event in await site.store.events()]
        assert kinds == ["node-boot-once", "node-install-begun", "node-installed"]

    run(tmp_path, scenario)


def test_a_word_that_comes_after_a_later_boot_is_not_taken(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        late = await site.boot()
        await late.go(*STEPS)
        site.now += 5000
        await site.boots.expire()
        await site.fleet.boot_once("nuc", NodeTarget.INSTALL, by="alice")
        machine = await site.boot()
        await machine.go(*ALL_STEPS[:3])
        begun = site.fleet.get_override("nuc")
        with pytest.raises(InstallRefusedError, match="another boot since"):
            await late.say(InstallStep.DONE)
        assert site.fleet.get_override("nuc") == begun
        await machine.go(*ALL_STEPS[3:])
        assert site.target() is NodeTarget.DISK

    run(tmp_path, scenario)


def test_what_does_not_go_on_is_told_and_tried_again(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        machine = await site.boot()
        await machine.go(*ALL_STEPS[:1])
        await machine.say(InstallStep.DISK, error="there are two disks")
        boot = await site.boots.find(machine.boot_id)
        assert boot is not None
        assert (boot.state, boot.why) == (BootState.FAILED, "not installed (disk): there are two disks")
        assert site.target() is NodeTarget.INSTALL
        await machine.say(InstallStep.BEGIN)
        boot = await site.boots.find(machine.boot_id)
        assert boot is not None
        assert (boot.state, boot.why) == (BootState.BOOTING, None)

    run(tmp_path, scenario)


def test_one_that_takes_too_long_is_installed_all_the_same(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        machine = await site.boot()
        await machine.go(*STEPS)
        site.now += 5000
        await site.boots.expire()
        boot = await site.boots.find(machine.boot_id)
        assert boot is not None
        assert boot.state is BootState.FAILED
        await machine.say(InstallStep.DONE)
        assert site.target() is NodeTarget.DISK

    run(tmp_path, scenario)
