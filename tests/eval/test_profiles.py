"""The runner's and the publisher guest's profiles: what they set, and that a host may set it otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.hosts import merge
from support.systems import Systems

pytestmark = pytest.mark.nix

RUNNER = {"services": {"every-channel": {"runner": {"enable": True}}}}
GUEST = {"services": {"every-channel": {"publisher-guest": {"enable": True}}}}


def read_profile(systems: Systems, *parts: dict[str, Any]) -> dict[str, Any]:
    """What system.nix says of a host of these parts."""
    found: dict[str, Any] = systems.evaluate("profile", merge(*parts))
    dates = found["gc"]["dates"]
    # A list since nixpkgs 2025-05, a string before.
    found["gc"]["dates"] = dates if isinstance(dates, list) else [dates]
    return found


def test_the_defaults_of_an_unattended_box(systems: Systems) -> None:
    found = read_profile(systems, RUNNER)
    assert found["storage"] == "volatile"
    assert found["gc"] == {"automatic": True, "dates": ["weekly"], "options": "--delete-older-than 14d"}
    assert set(found["bootEntries"].values()) == {10}
    assert {key["path"].rpartition("/")[0] for key in found["hostKeys"]} == {"/etc/ssh"}


@pytest.mark.parametrize("profile", [RUNNER, GUEST])
def test_the_journal_is_in_memory_where_nixpkgs_has_renamed_the_option(
    systems: Systems, profile: dict[str, Any]
) -> None:
    settings = "lib.mkOption { type = with lib.types; attrsOf (attrsOf str); }"
    renamed = f"[ ({{ lib, ... }}: {{ options.services.journald.settings = {settings}; }}) ]"
    program = ["nix-instantiate", "--eval", "--strict", "--json", "--arg", "modules", renamed]
    done = systems.run(program, "config.services.journald.settings", profile)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"Journal": {"Storage": "volatile"}}


def test_a_host_may_have_it_otherwise(systems: Systems) -> None:
    own = {
        "services": {"journald": {"storage": "persistent"}},
        "nix": {"gc": {"automatic": False, "options": "--delete-old"}},
        "boot": {"loader": {"systemd-boot": {"configurationLimit": 3}}},
    }
    found = read_profile(systems, RUNNER, own)
    assert found["storage"] == "persistent"
    assert (found["gc"]["automatic"], found["gc"]["options"]) == (False, "--delete-old")
    assert found["bootEntries"]["systemd-boot"] == 3


def test_a_runner_that_is_a_publisher_guest_too_collects_no_store(systems: Systems) -> None:
    both = merge(RUNNER, GUEST)
    assert systems.evaluate("failed", both) == []
    assert not read_profile(systems, both)["gc"]["automatic"]


@pytest.mark.parametrize(
    ("directory", "apart"), [("/srv/ec", False), ("/srv/ec/guest/", False), ("/srv/ecs", True)]
)
def test_the_directories_of_two_services_are_apart(systems: Systems, directory: str, apart: bool) -> None:
    netboot = {"enable": True, "listenIP": "192.0.2.10", "stateDir": "/srv/ec"}
    guest = {"enable": True, "stateDir": directory, "boot": {"http": {"root": "/srv/netboot"}}}
    failed = systems.evaluate(
        "failed", {"services": {"every-channel": {"netboot": netboot, "ipxe-qemu": guest}}}
    )
    own = (
        "services.every-channel.netboot.stateDir and services.every-channel.ipxe-qemu.stateDir must be apart"
    )
    assert [message.partition(",")[0] for message in failed] == ([] if apart else [own])


def test_without_the_profile_none_of_it(systems: Systems) -> None:
    found = read_profile(systems, {})
    assert found["storage"] == "persistent"
    assert not found["gc"]["automatic"]
    assert not [name for name in found["etc"] if name.startswith("every-channel")]


def test_the_flake_s_source_is_on_the_system(systems: Systems) -> None:
    source = systems.build("flakeSource", RUNNER)
    assert str(source).startswith("/nix/store/")
    for file in ("flake.nix", "flake.lock", "nix/modules/ec-runner.nix", "ectools/__init__.py"):
        assert (source / file).is_file()
    for directory in (".git", ".venv", ".cache"):
        assert not (source / directory).exists()


def test_another_flake_and_its_name_of_the_system(systems: Systems) -> None:
    options = {"flake": "/srv/flake", "configuration": "box"}
    etc = systems.evaluate("etc", merge(RUNNER, {"services": {"every-channel": {"runner": options}}}))
    assert etc["every-channel/flake"] == "/srv/flake"
    assert "configuration" in etc["every-channel/configuration"]


def test_host_keys_persist_where_the_root_does_not(systems: Systems) -> None:
    overlay = {"services": {"every-channel": {"runner": {"overlayRoot": {"enable": True}}}}}
    found = read_profile(systems, RUNNER, overlay)
    assert [key["path"] for key in found["hostKeys"]] == ["/var/lib/every-channel/ssh/ssh_host_ed25519_key"]


def test_a_publisher_guest_has_no_disk_and_talks_on_its_serial_port(systems: Systems) -> None:
    found = read_profile(systems, GUEST)
    consoles = [each for each in found["kernelParams"] if each.startswith("console=")]
    assert consoles[-1] == "console=ttyS0,115200n8"
    assert (found["root"], found["useDHCP"], found["storage"]) == ("tmpfs", True, "volatile")
    assert not found["node"]


def test_the_root_of_a_guest_is_root_s_alone_to_write_to(systems: Systems) -> None:
    """Also as NixOS's own virtual machine, which has file systems of its own; a disk takes no mode."""

    def read(*parts: dict[str, Any]) -> list[bool]:
        return [
            "mode=0755" in systems.evaluate(f'config.{variant}fileSystems."/".options', merge(*parts))
            for variant in ("", "virtualisation.vmVariant.")
        ]

    disk = {"fileSystems": {"/": {"device": "/dev/vda", "fsType": "ext4"}}}
    image = {"virtualisation": {"vmVariant": {"virtualisation": {"diskImage": "./guest.qcow2"}}}}
    assert read(GUEST) == [True, True]
    assert read(GUEST, disk, image) == [False, False]


def test_the_daemon_runs_in_the_guest_where_there_is_one(systems: Systems) -> None:
    brought = {"services": {"every-channel": {"node": {"package": {"package": "hello"}}}}}
    assert read_profile(systems, GUEST, brought)["node"]
    off = {"services": {"every-channel": {"node": {"enable": False}}}}
    assert not read_profile(systems, GUEST, brought, off)["node"]
