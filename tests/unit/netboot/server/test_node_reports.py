"""Boots from the script to the report, at the site: what machines ask for and say, and what becomes known."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, MultiDict
from support.fleets import make_fleet
from support.log_lines import LogLines
from support.staged import make_release, make_systems, put_release

from ectools.netboot.boots.model import BootState, NodeStage
from ectools.netboot.boots.register import BootRegister
from ectools.netboot.http.handler import RequestInfo, Resource
from ectools.netboot.http.responses import Delivery
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.server import script_desk
from ectools.netboot.server.policy import ServingPolicy
from ectools.netboot.server.rate_limit import RateLimit
from ectools.netboot.server.site import BootSite
from ectools.netboot.settings.load import load_netboot_settings
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.release.manifest import Release

WHOLE = Delivery(status=200, sent=10, reached_end=True)
MAC = "02:00:00:00:00:01"
FLEET: dict[str, Any] = {
    "groups": {"runners": {"kernelArguments": ["a"], "healthyWithin": 60, "healthUnits": ["a.service"]}},
    "nodes": {"nuc": {"group": "runners", "match": {"mac": [MAC]}}},
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class World:
    """A site with a register, on clocks that stand still."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1000.0
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.log = LogLines()
        self.events = self.log.having
        self.run(self.open())

    async def open(self) -> None:
        self.store = SqliteStore(self.directory / STATE_FILE)
        await self.store.start()
        self.boots = BootRegister(self.store, clock=lambda: self.now)
        await self.boots.load()
        self.site = BootSite(
            ReleaseStore(self.directory), self.policy(), clock=lambda: self.now, boots=self.boots
        )

    def policy(self, fleet: dict[str, Any] | None = None, *tokens: str, **options: Any) -> ServingPolicy:
        flags = {"stateDir": str(self.directory), "hostname": "192.0.2.10", **options}
        settings = load_netboot_settings(None, flags=flags, environment={})
        return ServingPolicy.build(settings, tokens, None if fleet is None else make_fleet(**fleet))

    def stage(self) -> Release:
        files = {"bzImage": b"kernel", "initrd": b"initrd"}
        release = make_release(files)
        put_release(self.directory, release, files)
        return release

    def info(
        self,
        path: str,
        *,
        headers: dict[str, str],
        method: str = "GET",
        peer: str = "192.0.2.7",
        **query: str,
    ) -> RequestInfo:
        return RequestInfo(
            peer=peer,
            method=method,
            segments=tuple(part.encode() for part in path.split("/")),
            query=MultiDict(query),
            headers=CIMultiDict(headers),
        )

    def find(self, path: str, **request: Any) -> Resource:
        return self.run(self.site.find(self.info(path, **{"headers": {}, **request})))

    def ask(self, **request: Any) -> str:
        """The script, which arrives."""
        found = self.find("netboot.ipxe", **request)
        assert isinstance(found.target, bytes)
        if found.on_complete is not None:
            found.on_complete(WHOLE)
        return found.target.decode()

    def fetch(self, path: str, **request: Any) -> None:
        found = self.find(path, **request)
        assert found.on_complete is not None
        found.on_complete(WHOLE)

    def say(self, token: str, body: str, **request: Any) -> bytes:
        assert self.site.reports is not None
        info = self.info("report", method="POST", **{"headers": FORM, "boot": token, **request})
        self.site.reports.admit(info)
        return self.run(self.site.reports.receive(info, body.encode()))

    def newest(self, subject: str = "nuc") -> NodeBoot:
        return self.boots.latest[subject]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.site.close()
    world.run(world.store.close())
    world.runner.close()


def token_of(script: str) -> str:
    # One in 64 ends in a hyphen, behind which no word ends.
    (token,) = set(re.findall(r"/report\?boot=([A-Za-z0-9_-]{32})(?![A-Za-z0-9_-])", script))
    return str(token)


def test_machines_without_a_name_crowd_out_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who makes up MACs gets scripts that boot, and no more boots are remembered than an address may have."""
    monkeypatch.setattr(script_desk, "UNNAMED_AT_ONCE", 2)
    world.run(world.store.close())
    world.run(world.open())
    world.stage()
    for fleet in (None, FLEET):
        world.site.set_policy(world.policy(fleet))
        scripts = [world.ask(mac=f"02:00:00:00:01:0{number}", arch="x86_64") for number in range(4)]
        assert all("/report?boot=" in script for script in scripts[: 2 if fleet is None else 0])
        for script in scripts[2:]:
            assert "/report?boot=" not in script
            assert "bzImage" in script
    assert len(world.boots.latest) == 2
    (line,) = world.events("boot too often from one address")
    assert line["client"] == "192.0.2.7"
    # Who has a name is remembered, another address has its own, and time helps.
    token_of(world.ask(mac=MAC, arch="x86_64"))
    token_of(world.ask(mac="02:00:00:00:01:08", arch="x86_64", peer="192.0.2.8"))
    world.now += 1
    token_of(world.ask(mac="02:00:00:00:01:09", arch="x86_64"))


def test_a_node_says_how_much_of_its_store_it_has(world: World) -> None:
    world.stage()
    world.site.set_policy(world.policy(FLEET))
    token = token_of(world.ask(mac=MAC, arch="x86_64"))
    assert world.say(token, "stage=store&percent=40") == b"ok\n"
    assert (world.newest().last_stage, world.newest().store_percent) == (NodeStage.STORE, 40)
    for wrong, status in (("stage=store&percent=x", 400), ("stage=store", 400)):
        with pytest.raises(RejectedError) as caught:
            world.say(token, wrong)
        assert caught.value.status == status
    world.say(token, f"stage=up&healthy=yes&release={world.newest().release}")
    assert world.newest().state is BootState.HEALTHY
    with pytest.raises(RejectedError) as caught:
        world.say(token, "stage=store&percent=50")
    assert caught.value.status == 403


def test_a_node_from_its_first_stage_to_its_report(world: World) -> None:
    release = world.stage()
    world.site.set_policy(world.policy(FLEET))
    world.site.nodes.offered(MAC)
    world.now += 1
    world.site.nodes.offered(MAC)  # on port 4011
    world.site.nodes.first_stage("192.0.2.7", "ec-ipxe.efi")
    world.now += 1
    script = world.ask(mac=MAC, arch="x86_64")
    token, boot = token_of(script), world.newest()
    reporting = [
        f"every_channel.report=http://192.0.2.10:8080/report?boot={token}",
        f"every_channel.release={release.id}",
        "every_channel.healthy_within=60",
        "every_channel.health_units=a.service",
    ]
    assert f"${{cmdline}} a {' '.join(reporting)}\n" in script
    assert f"set ec-query ?boot={boot.id}\n" in script
    assert "echo every.channel: nuc: starting" in script
    assert (boot.machine, boot.node, boot.group, boot.client) == (f"mac {MAC}", "nuc", "runners", "192.0.2.7")
    assert (boot.release, boot.tag, boot.system) == (release.id, "boot-v1", "release")
    assert (boot.store_path, boot.within) == ("/nix/store/e-nixos", 60.0)
    for name in ("bzImage", "initrd"):
        world.now += 1
        # Over another NIC: it is the boot that says whose it is.
        world.fetch(f"releases/{release.id}/{name}", peer="192.0.2.99", boot=boot.id)
    assert world.find("report", boot=token, stage="loaded").target == b""
    assert world.find("report", boot=token, stage="loaded").is_private
    assert world.say(token, "stage=running") == b"ok\n"
    world.now += 30
    up = f"stage=up&healthy=yes&release={release.id}&system=/nix/store/e-nixos"
    assert world.say(token, up) == b"ok\n"
    assert world.newest().state is BootState.HEALTHY
    assert {stage.value: at - 1000 for stage, at in world.newest().stages.items()} == {
        "offer": 0.0,
        "first-stage": 1.0,
        "script": 2.0,
        "kernel": 3.0,
        "initrd": 4.0,
        "loaded": 4.0,
        "running": 4.0,
        "up": 34.0,
    }
    (told,) = world.events("a node has everything it boots from")
    assert (told["node"], told["seconds"], told["client"]) == ("nuc", 3.0, "192.0.2.99")
    (told,) = world.events("a node has reported")
    assert (told["level"], told["state"], told["seconds"]) == ("info", "healthy", 32.0)
    assert token not in world.log.text


def test_without_a_fleet_a_machine_has_its_boot_and_who_says_nothing_has_none(world: World) -> None:
    world.stage()
    script = world.find("netboot.ipxe", serial="S1")
    assert script.is_private
    assert isinstance(script.target, bytes)
    assert "health_units" not in script.target.decode()
    assert world.newest("serial S1").within == 600
    shared = world.ask()
    assert "report" not in shared
    for request in (
        {"mac": ""},
        {"mac": MAC, "method": "HEAD"},
        {"mac": MAC, "headers": {"User-Agent": "ectools-probe"}},
    ):
        assert world.ask(**request) == shared
    assert list(world.boots.latest) == ["serial S1"]


def test_of_a_fleet_who_only_looks_begins_no_boot(world: World) -> None:
    world.stage()
    world.site.set_policy(world.policy(FLEET))
    script = world.ask(mac=MAC, method="HEAD")
    assert "echo every.channel: nuc: starting" in script
    assert "every_channel." not in script
    assert world.boots.latest == {}


def test_a_machine_gets_the_system_for_its_architecture_and_the_last_init_counts(world: World) -> None:
    names = {"pc": KernelArchitecture.X86_64, "pi": KernelArchitecture.AARCH64}
    release, files = make_systems(names, arguments=("init=/nix/store/e-nixos/init",))
    put_release(world.directory, release, files)
    world.ask(mac=MAC, arch="arm64")
    assert world.newest(f"mac {MAC}").system == "pi"
    world.ask(mac="02:00:00:00:00:02", arch="sparc")
    boot = world.newest("mac 02:00:00:00:00:02")
    assert (boot.system, boot.store_path) == ("", None)
    arguments = ["init=/nix/store/x-other/init"]
    for given, path in ((arguments, "/nix/store/x-other"), ([*arguments, "init=/bin/sh"], None)):
        fleet = {"groups": {"g": {"system": "pi", "kernelArguments": given}}}
        node = {"nodes": {"odd": {"group": "g", "match": {"serial": "S2"}}}}
        world.site.set_policy(world.policy({**fleet, **node}))
        world.now += 1000
        world.ask(serial="S2", arch="arm64")
        assert world.newest("odd").store_path == path


def test_mirrors_are_asked_for_files_alone(world: World) -> None:
    world.stage()
    world.site.set_policy(world.policy(FLEET, "t0ken", mirrors=["https://cache.example.org"]))
    lines = world.ask(mac=MAC).splitlines()
    own, mirror = lines.index(":source_0"), lines.index(":source_1")
    boot = world.newest()
    assert lines[own + 1 : own + 5] == [
        "set ec-url http://192.0.2.10:8080",
        f"set ec-query ?boot={boot.id}",
        "set ec-joint &",
        "goto try",
    ]
    assert lines[mirror + 1 : mirror + 5] == [
        "set ec-url https://cache.example.org",
        "clear ec-query ||",
        "set ec-joint ?",
        "goto try",
    ]


def test_a_file_of_the_releases_own_named_report_is_still_served(world: World) -> None:
    files = {"bzImage": b"kernel", "initrd": b"initrd", "report": b"a file"}
    put_release(world.directory, make_release(files), files)
    target = world.find("report").target
    assert isinstance(target, tuple)
    assert target[-1] == b"report"


def refused(world: World, *arguments: Any, **request: Any) -> int:
    with pytest.raises(RejectedError) as rejected:
        world.say(*arguments, **request)
    return rejected.value.status


def test_what_is_refused(world: World) -> None:
    release = world.stage()
    token = token_of(world.ask(mac=MAC))
    up = f"stage=up&healthy=yes&release={release.id}"
    assert refused(world, "x" * 32, up) == 403
    assert refused(world, token, "stage=up") == 400
    assert refused(world, token, up, headers={"Content-Type": "application/json"}) == 415
    assert world.say(token, up, headers={}) == b"ok\n"
    assert refused(world, token, up.replace("yes", "no")) == 403
    assert world.say(token, up + "&clock=7") == b"ok\n"
    for query in ({"boot": "x"}, {"boot": token, "stage": "up"}):
        with pytest.raises(RejectedError):
            world.find("report", **query)
    reports = world.site.reports
    assert reports is not None
    assert reports.is_for(world.info("report", headers=FORM))
    assert not reports.is_for(world.info("other", headers=FORM, boot=token))
    assert world.boots.counts.reports == {"accepted": 2, "refused": 3, "malformed": 3}
    (told,) = {entry["state"] for entry in world.events("a node has reported")}
    assert told == "healthy"


def test_a_node_that_claims_another_release_is_told_as_such(world: World) -> None:
    world.stage()
    token = token_of(world.ask(mac=MAC))
    world.say(token, "stage=up&healthy=yes&release=sha256-other")
    (told,) = world.events("a node has reported")
    assert told["level"] == "warning"
    assert told["reason"].startswith("runs sha256-other, was given sha256-")


def test_a_store_that_is_not_there_is_no_end_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    release = world.stage()
    token = token_of(world.ask(mac=MAC))

    async def fail(*_: Any, **__: Any) -> int:
        raise StateError("gone")

    up = f"stage=up&healthy=yes&release={release.id}"
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "put", fail)
        assert refused(world, token, up) == 503
    assert world.say(token, up) == b"ok\n"


def test_floods_are_bounded_by_token_and_by_the_address_of_who_has_none(world: World) -> None:
    world.stage()
    token = token_of(world.ask(mac=MAC))
    statuses = [refused(world, "x" * 32, "", peer="192.0.2.66") for _ in range(40)]
    assert (statuses[0], statuses[-1]) == (403, 429)
    assert world.say(token, "stage=running", peer="192.0.2.66") == b"ok\n"
    failed = 0
    for number in range(40):
        try:
            world.say(token, f"stage=up&healthy=no&clock={number}")
        except RejectedError as error:
            failed += error.status == 429
    assert failed > 20
    world.now += 60
    assert world.say(token, "stage=up&healthy=no") == b"ok\n"


def test_a_rate_is_kept_for_so_many_keys() -> None:
    now = [0.0]
    rate = RateLimit(burst=2, per_second=0.5, clock=lambda: now[0], max_keys=2)
    assert [rate.take("a") for _ in range(3)] == [True, True, False]
    now[0] = 2.0
    assert [rate.take("a") for _ in range(2)] == [True, False]
    rate.take("b")
    rate.take("c")
    assert rate.take("a")  # forgotten


def test_stages_of_a_boot_that_is_unknown_change_nothing(world: World) -> None:
    release = world.stage()
    world.fetch(f"releases/{release.id}/bzImage", boot="nobody's")
    world.fetch(f"releases/{release.id}/initrd", boot="nobody's")
    assert world.boots.latest == {}
    assert len(world.events("a node has everything it boots from")) == 1


def test_who_asks_again_gets_the_same_script(world: World) -> None:
    release = world.stage()
    script = world.ask(mac=MAC)
    assert world.ask(mac=MAC) == script
    boot = world.newest(f"mac {MAC}")
    world.fetch(f"releases/{release.id}/bzImage", boot=boot.id)
    assert NodeStage.KERNEL in world.newest(f"mac {MAC}").stages
    assert world.ask(mac=MAC) != script


def test_an_old_first_stage_is_of_no_boot(world: World) -> None:
    world.stage()
    world.site.nodes.offered(MAC)
    world.site.nodes.first_stage("192.0.2.7", "ec-ipxe.efi")
    world.now += 3600
    world.ask(mac=MAC)
    assert list(world.newest(f"mac {MAC}").stages) == [NodeStage.SCRIPT]
