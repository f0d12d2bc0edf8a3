"""Nodes on a disk, led by rollouts of a real boot server: to the next release, or back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.boot_http import wait_until
from support.boot_service import boot_service, stage, write_fleet_settings
from support.kept_boots import read_boots
from support.served_rollout import rollout
from support.update_lab import (
    MAC,
    NODE,
    TRIES,
    Node,
    Volumes,
    boot_loader,
    build_system,
    require_update_tools,
    write_cut,
)

from ectools.netboot.boots.model import BootState
from ectools.netboot.release.pins import pin
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.install_lab import Installable

pytestmark = [pytest.mark.nix, pytest.mark.slow, pytest.mark.timeout(1800)]

CUTS = 40
VERSIONS = ("1", "2", "3")


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Installable]:
    require_update_tools()
    directory = tmp_path_factory.mktemp("systems")
    found = {version: build_system(directory, version) for version in VERSIONS}
    found["huge"] = build_system(directory, "huge", size=220_000_000)
    found["stranger"] = build_system(directory, "stranger", key="another-key")
    return found


class World:
    """A boot server, its releases by version, and the node that the first of them is on."""

    def __init__(self, node: Node, sock: Path, ids: Mapping[str, str]) -> None:
        self.node, self.sock, self.ids = node, sock, ids

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


@pytest.fixture
def world(systems: Mapping[str, Installable], tmp_path: Path) -> Iterator[World]:
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
    settings_file = write_fleet_settings(tmp_path, fleet)
    sock = tmp_path / "control.sock"
    with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
        service.wait_for_event("the control socket is there")
        (tmp_path / "disk").mkdir()
        volumes = Volumes(tmp_path / "disk/root.img", tmp_path / "disk/esp.img")
        node = Node(service, tmp_path / "disk", systems["1"].public_key, volumes)
        node.install(systems["1"])
        node.good |= {systems[version].store_path for version in ("1", "2", "huge", "stranger")}
        assert node.boot() == systems["1"].store_path
        yield World(node, sock, ids)


def test_a_node_goes_to_the_next_release_and_stays_there(
    world: World, systems: Mapping[str, Installable]
) -> None:
    node = world.node
    assert not node.follow(turns=3)
    world.start("2")
    assert node.follow(), node.said
    found = node.describe()
    # On trial, and the one before is what the machine falls back to.
    assert found["entries"] == ["nixos-generation-1.conf", f"nixos-generation-2+{TRIES}.conf"]
    assert found["profile"] == systems["1"].store_path
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
    # Whoever says that release again, gets it not.
    raw = json.loads(node.service.settings_file.read_text())
    raw["fleet"]["groups"]["runners"]["release"] = world.ids["3"]
    node.service.settings_file.write_text(json.dumps(raw))
    node.service.reload()
    assert not node.follow(turns=3)
    # And the next one all the same.
    raw["fleet"]["groups"]["runners"]["release"] = world.ids["2"]
    node.service.settings_file.write_text(json.dumps(raw))
    node.service.reload()
    assert node.follow(), node.said
    assert node.boot() == systems["2"].store_path
    assert node.describe()["generations"] == ["system-1-link", "system-2-link"]


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


def test_what_was_there_goes_when_more_comes(world: World, systems: Mapping[str, Installable]) -> None:
    node = world.node
    raw = json.loads(node.service.settings_file.read_text())
    for version in ("2", "1", "2", "1"):
        raw["fleet"]["groups"]["runners"]["release"] = world.ids[version]
        node.service.settings_file.write_text(json.dumps(raw))
        node.service.reload()
        assert node.follow(), node.said
        assert node.boot() == systems[version].store_path
    found = node.describe()
    assert found["generations"] == ["system-4-link", "system-5-link"]
    assert found["entries"] == ["nixos-generation-4.conf", "nixos-generation-5.conf"]
    assert found["kernels"] == found["named"]


def test_a_power_cut_anywhere(world: World, systems: Mapping[str, Installable], tmp_path: Path) -> None:
    """In the copy, the boot menu, and the settling: the machine boots, and is updated in the end."""
    node, work = world.node, tmp_path / "cuts"
    work.mkdir()
    world.start("2")
    origin = node.volumes
    whole = [node.follow, lambda **env: node.settle("prove", **env)]
    start = origin.copy(work / "start")
    running = node.running

    def begin(step: int, name: str) -> None:
        """The machine before a step, on a disk of its own."""
        node.volumes, node.running, node.boot_id = start.copy(work / name), running, ""
        if step:
            assert node.follow(), node.said
            with node.looked_at() as (_, esp):
                node.running = boot_loader(esp)

    counts = []
    for step, action in enumerate(whole):
        begin(step, f"count-{step}")
        (node.directory / "systemctl-said").unlink(missing_ok=True)
        action(bash_env=write_cut(node.directory, node.volumes, at=0, cut=work / f"commands-{step}"))
        counts.append(int((work / f"commands-{step}").read_text()))
    cuts = 0
    for point in range(CUTS):
        step, number = (0, point) if point < CUTS * 3 // 4 else (1, point - CUTS * 3 // 4)
        share = CUTS * 3 // 4 if step == 0 else CUTS - CUTS * 3 // 4
        begin(step, f"at-{point}")
        (node.directory / "systemctl-said").unlink(missing_ok=True)
        cut = work / f"cut-{point}"
        at = 1 + counts[step] * number // share
        whole[step](bash_env=write_cut(node.directory, node.volumes, at=at, cut=cut))
        if cut.exists():
            cuts += 1
            node.volumes = Volumes(cut / "root.img", cut / "esp.img")
        if node.boot() != systems["2"].store_path:
            assert node.running == systems["1"].store_path
            assert node.follow(), f"after a cut at {step}:{at}: {node.said}"
            assert node.boot() == systems["2"].store_path
        found = node.describe()
        assert found["profile"] == systems["2"].store_path
        assert found["whole"]
        assert found["kernels"] == found["named"]
        assert "nixos-generation-1.conf" in found["entries"]
    assert cuts > CUTS // 2
