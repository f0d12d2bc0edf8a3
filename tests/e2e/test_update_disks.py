"""Nodes on a disk, led by rollouts of a real boot server: to the next release, or back."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.boot_http import wait_until
from support.boot_service import boot_service, stage, write_fleet_settings
from support.disk_lab import require_lab_tools
from support.kept_boots import read_boots
from support.served_rollout import rollout
from support.update_lab import MAC, NODE, TRIES, Node, Volumes, write_cut
from support.updated_systems import build_system

from ectools.netboot.boots.model import BootState
from ectools.netboot.release.pins import pin
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.disk_lab import Installable

pytestmark = [pytest.mark.nix, pytest.mark.timeout(1800)]

CUTS = 40
STEPS = ("follow", "prove", "tell")
VERSIONS = ("1", "2", "3")


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Installable]:
    require_lab_tools()
    directory = tmp_path_factory.mktemp("systems")
    found = {version: build_system(directory, version) for version in VERSIONS}
    found["huge"] = build_system(directory, "huge", size=220_000_000)
    # The same system in another release, whose other files are others.
    found["same"] = replace(found["1"], files={**found["1"].files, "bzImage": b"another"})
    found["stranger"] = build_system(directory, "stranger", key="another-key")
    return found


class World:
    """A boot server, its releases by version, and the node that the first of them is on."""

    def __init__(
        self, node: Node, sock: Path, ids: Mapping[str, str], systems: Mapping[str, Installable]
    ) -> None:
        self.node, self.sock, self.ids, self.systems = node, sock, ids, systems

    def name(self, version: str) -> str:
        """The group's release is that one from now on; the store path of its system."""
        settings_file = self.node.service.settings_file
        raw = json.loads(settings_file.read_text())
        raw["fleet"]["groups"]["runners"]["release"] = self.ids[version]
        settings_file.write_text(json.dumps(raw))
        self.node.service.reload()
        return self.systems[version].store_path

    def start(self, version: str) -> None:
        words = ("--group", "runners", "--waves", "100%", "--max-failures", "0")
        rollout(self.sock, "start", self.ids[version], *words)

    @property
    def rollout(self) -> dict[str, Any]:
        # Its exit status says how the rollout stands.
        argv = [sys.executable, "-m", "ectools.cli.main", "rollout", "status", "--json"]
        done = subprocess.run([*argv, "--socket", str(self.sock)], stdout=subprocess.PIPE, check=False)
        (found,) = json.loads(done.stdout)
        return dict(found)

    def wait_for(self, state: str) -> dict[str, Any]:
        wait_until(lambda: self.rollout["state"] == state, f"the rollout is {state}")
        return self.rollout


def prepare(systems: Mapping[str, Installable], tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Settings of a fleet whose one node is to be installed; the ids of its releases, by version."""
    state = tmp_path / "state"
    state.mkdir()
    ids = {}
    for version, system in systems.items():
        ids[version] = stage(state, system.files).id
        pin(ReleaseStore(state), ids[version])
    fleet = {
        "groups": {"runners": {"boot": "install", "release": ids["1"]}},
        "nodes": {NODE: {"group": "runners", "match": {"mac": [MAC]}}},
    }
    return write_fleet_settings(tmp_path, fleet), ids


@pytest.fixture
def world(systems: Mapping[str, Installable], tmp_path: Path) -> Iterator[World]:
    settings_file, ids = prepare(systems, tmp_path)
    sock = tmp_path / "control.sock"
    with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
        service.wait_for_event("the control socket is there")
        (tmp_path / "disk").mkdir()
        volumes = Volumes(tmp_path / "disk/root.img", tmp_path / "disk/esp.img")
        node = Node(service, tmp_path / "disk", systems["1"].public_key, volumes)
        node.install(systems["1"])
        node.good |= {systems[version].store_path for version in ("1", "2", "huge", "stranger")}
        assert node.boot() == systems["1"].store_path
        yield World(node, sock, ids, systems)


def test_a_node_goes_to_the_next_release_and_stays_there(
    world: World, systems: Mapping[str, Installable]
) -> None:
    node = world.node
    assert not node.follow(turns=3)
    world.start("2")
    assert node.follow(), node.said
    # What the boot server has said of a slot is not taken for what it has said of the node.
    assert node.polls == 1
    found = node.describe()
    # On trial, and the one before is what the machine falls back to.
    assert found["entries"] == ["nixos-generation-1.conf", f"nixos-generation-1.next+{TRIES}.conf"]
    assert found["profile"] == systems["1"].store_path
    assert found["kernels"] == found["named"]
    assert [name for name in found["named"] if name.endswith("board.dtb.efi")]
    assert node.boot() == systems["2"].store_path
    world.wait_for("done")
    found = node.describe()
    assert found["profile"] == systems["2"].store_path
    assert found["entries"] == ["nixos-generation-1.conf", "nixos-generation-2.conf"]
    assert found["kernels"] == found["named"]
    assert found["state"] == ["credential", "systems"]
    assert node.boot() == systems["2"].store_path
    boot = read_boots(node.service.state_dir)[NODE]
    assert (boot.state, boot.from_disk, boot.release) == (BootState.HEALTHY, True, world.ids["2"])
    assert not node.follow(turns=3)


def test_one_that_does_not_come_up_is_gone_back_from_told_and_not_tried_again(
    world: World, systems: Mapping[str, Installable]
) -> None:
    node = world.node
    world.start("3")
    assert node.follow(), node.said
    assert node.boot() == systems["1"].store_path
    why = world.wait_for("stopped")["why"]
    told = f"{systems['3'].store_path} did not come up: the disk went back to {systems['1'].store_path}"
    assert told in why
    found = node.describe()
    assert found["entries"] == ["nixos-generation-1.conf"]
    assert found["kernels"] == found["named"]
    assert found["state"] == ["bad", "credential", "systems"]
    # Whoever says that release again, gets it not; and the next one all the same.
    world.name("3")
    assert not node.follow(turns=3)
    # Led back to what it runs it boots that once more, by its own name; and only once.
    world.start("1")
    assert node.follow(), node.said
    assert "which did not come up" in node.said
    assert node.describe()["entries"] == ["nixos-generation-1.conf"]
    assert node.boot() == systems["1"].store_path
    world.wait_for("done")
    boot = read_boots(node.service.state_dir)[NODE]
    assert (boot.state, boot.release) == (BootState.HEALTHY, world.ids["1"])
    assert not node.follow(turns=3)
    wanted = world.name("2")
    assert node.follow(), node.said
    assert node.boot() == wanted
    assert node.describe()["generations"] == ["system-1-link", "system-2-link"]


def test_a_release_that_brings_what_runs_is_taken_without_a_boot(
    world: World, systems: Mapping[str, Installable]
) -> None:
    node = world.node
    world.start("same")
    assert not node.follow(turns=3), node.said
    world.wait_for("done")
    assert "the boot server knows" in node.said
    assert node.describe()["entries"] == ["nixos-generation-1.conf"]
    boot = read_boots(node.service.state_dir)[NODE]
    assert (boot.state, boot.release) == (BootState.HEALTHY, world.ids["same"])
    # What the next boot says is that release too.
    assert node.boot() == systems["1"].store_path
    boot = read_boots(node.service.state_dir)[NODE]
    assert (boot.state, boot.release) == (BootState.HEALTHY, world.ids["same"])


def test_a_firmware_that_starts_another_each_time_ends_an_update(
    world: World, systems: Mapping[str, Installable]
) -> None:
    node = world.node
    with node.looked_at() as (_, esp):
        (esp / "LoaderEntryDefault").write_text("nixos-generation-1.conf")
    world.start("2")
    for _ in range(TRIES + 1):
        assert node.follow(), node.said
        assert node.boot() == systems["1"].store_path
    assert "starts the system before each time" in world.wait_for("stopped")["why"]
    found = node.describe()
    assert found["entries"] == ["nixos-generation-1.conf"]
    assert found["state"] == ["bad", "credential", "systems"]
    assert read_boots(node.service.state_dir)[NODE].state is BootState.HEALTHY
    world.name("2")
    assert not node.follow(turns=3)


def test_entries_by_what_is_in_them_are_gone_back_to_and_no_other(
    world: World, systems: Mapping[str, Installable]
) -> None:
    """As NixOS 26.11 names them, which may prefer one; a third would come first in the menu."""
    node = world.node
    with node.looked_at() as (_, esp):
        (esp / "hashed").touch()
    wanted = world.name("2")
    assert node.follow(), node.said
    assert node.boot() == wanted
    with node.looked_at() as (_, esp):
        first = (esp / "loader/entries").glob("nixos-*.conf")
        text = next(text for text in map(Path.read_text, first) if systems["1"].store_path in text)
        (esp / "loader/entries/nixos-zzz.conf").write_text(text.replace("Generation 1", "Generation 99"))
    world.name("3")
    assert node.follow(), node.said
    assert node.boot() == wanted
    wanted = world.name("1")
    assert node.follow(), node.said
    assert node.boot() == wanted
    found = node.describe()
    assert found["kernels"] == found["named"]
    assert all(len(name) == len("nixos-.conf") + 64 for name in found["entries"])


def test_one_that_installs_itself_has_its_place_in_a_rollout(
    systems: Mapping[str, Installable], tmp_path: Path
) -> None:
    settings_file, ids = prepare({version: systems[version] for version in ("1", "2")}, tmp_path)
    sock = tmp_path / "control.sock"
    with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
        service.wait_for_event("the control socket is there")
        rollout(sock, "start", ids["2"], "--group", "runners", "--waves", "100%")
        script = service.get(f"/netboot.ipxe?mac={MAC}&arch=x86_64").body.decode()
        assert f"every_channel.release={ids['2']}" in script
        assert "every_channel.install=first" in script
        (found,) = rollout(sock, "status", "--json")
        assert (found["taken"], found["state"]) == (1, "running")


@pytest.mark.parametrize(
    ("version", "told"),
    [("huge", "the disk is full"), ("stranger", "is not signed by a key that this system trusts")],
)
def test_what_cannot_be_taken_is_told_and_leaves_the_disk_as_it_was(
    world: World, systems: Mapping[str, Installable], version: str, told: str
) -> None:
    node = world.node
    before = node.describe()
    world.start(version)
    assert not node.follow(), node.said
    assert told in world.wait_for("stopped")["why"]
    assert told in node.said
    assert node.describe() == before
    assert node.boot() == systems["1"].store_path


def test_a_boot_partition_that_is_full_is_told(world: World, systems: Mapping[str, Installable]) -> None:
    node = world.node
    with node.looked_at() as (_, esp):
        (esp / "somebody-s").write_bytes(bytes(shutil.disk_usage(esp).free - 2_000_000))
    world.start("2")
    assert not node.follow(), node.said
    assert "the EFI system partition has" in world.wait_for("stopped")["why"]
    found = node.describe()
    assert found["entries"] == ["nixos-generation-1.conf"]
    assert node.boot() == systems["1"].store_path


@pytest.mark.parametrize("text", ["", "/nix/store/half-of-a-li"])
def test_a_trial_that_nobody_knows_of_is_not_booted_again(
    world: World, systems: Mapping[str, Installable], text: str
) -> None:
    """What is left of it by a disk that has gone bad: the machine ends in the system before, and goes on."""
    node = world.node
    wanted = world.name("2")
    assert node.follow(), node.said
    with node.looked_at() as (root, _):
        (root / "state/pending").write_text(text)
    node.start()
    assert node.running == wanted
    found = node.describe()
    assert found["entries"] == ["nixos-generation-1.conf"]
    assert found["kernels"] == found["named"]
    assert found["state"] == ["credential", "systems"]
    assert node.boot() == systems["1"].store_path
    assert node.follow(), node.said
    assert node.boot() == wanted


def test_what_cannot_be_written_down_is_not_booted(world: World, systems: Mapping[str, Installable]) -> None:
    """Nobody would know that it is on trial."""
    node = world.node
    with node.looked_at() as (root, _):
        (root / "state/pending.new").mkdir()
    world.start("2")
    assert not node.follow(), node.said
    assert "cannot be written to" in world.wait_for("stopped")["why"]
    assert node.describe()["entries"] == ["nixos-generation-1.conf"]
    assert node.boot() == systems["1"].store_path


def test_what_was_there_goes_when_more_comes(world: World) -> None:
    node = world.node
    with node.looked_at() as (_, esp):
        # By a power cut in NixOS's own program.
        (esp / "loader/loader.tmp").touch()
    # systemd-bless-boot, where there is one, may have taken the counter off a moment before.
    blessing = node.directory / "bin/mv"
    blessing.write_text('#!/bin/sh\n/bin/mv "$@" || exit\ncase "$1" in */entries/*+*.conf) exit 1 ;; esac\n')
    blessing.chmod(0o755)
    for version in ("2", "1", "2", "1"):
        wanted = world.name(version)
        assert node.follow(), node.said
        assert node.boot() == wanted
    found = node.describe()
    assert found["generations"] == ["system-4-link", "system-5-link"]
    assert found["entries"] == ["nixos-generation-4.conf", "nixos-generation-5.conf"]
    assert found["kernels"] == found["named"]


@dataclass
class Cutter:
    """Power cuts in one of a machine's three programs, ``step``; each on a disk of its own, which goes on."""

    node: Node
    work: Path

    def run(self, step: str, *, at: int, cut: Path) -> None:
        """The program, cut before its command ``at``; 0: it is not, and ``cut`` has how many there were."""
        node = self.node
        if step != "follow":
            assert node.follow(), node.said
            node.start()
        (node.directory / "systemctl-said").unlink(missing_ok=True)
        bash_env = write_cut(node.directory, node.volumes, at=at, cut=cut)
        match step:
            case "follow":
                node.follow(bash_env=bash_env)
            case "prove":
                node.settle("prove", bash_env=bash_env)
            case _:
                node.tell(bash_env=bash_env)

    def count(self, step: str) -> int:
        file = self.work / f"commands-of-{step}"
        self.run(step, at=0, cut=file)
        return int(file.read_text())


def test_a_power_cut_anywhere(world: World, systems: Mapping[str, Installable], tmp_path: Path) -> None:
    """In the copy, the boot menu, the settling and the word of it: from one system to the other, and back.

    The machine boots, and has the other one in the end.
    """
    node, work = world.node, tmp_path / "cuts"
    work.mkdir()
    cutter, versions = Cutter(node, work), itertools.cycle("21")
    counts = {}
    for step in STEPS:
        wanted = world.name(next(versions))
        counts[step] = cutter.count(step)
        assert node.boot() == wanted
    cuts = 0
    for point in range(CUTS):
        step, before, wanted = STEPS[point % len(STEPS)], node.running, world.name(next(versions))
        cut = work / f"cut-{point}"
        at = 1 + counts[step] * point // CUTS
        cutter.run(step, at=at, cut=cut)
        if cut.exists():
            cuts += 1
            node.volumes = Volumes(cut / "root.img", cut / "esp.img")
        if node.boot() != wanted:
            assert node.running == before
            assert node.follow(), f"after a cut in {step} at {at}: {node.said}"
            assert node.boot() == wanted
        found = node.describe()
        assert found["profile"] == wanted
        assert found["whole"]
        assert found["kernels"] == found["named"]
        assert found["state"] == ["credential", "systems"]
    assert cuts > CUTS * 3 // 4
