"""Where a system that boots over the network has its Nix store from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.systems import Systems

from pynix_eval_shim import evaluate

pytestmark = [pytest.mark.nix]

ROOT = Path(__file__).resolve().parents[2]

OPTION = "services.every-channel.runner.store"


def configure(*, systemd: bool = True) -> dict[str, Any]:
    return {
        "services": {"every-channel": {"runner": {"enable": True, "store": "http"}}},
        "boot": {"initrd": {"systemd": {"enable": systemd}}},
    }


def test_it_is_about_systems_that_boot_over_the_network(systems: Systems) -> None:
    (message,) = systems.evaluate("failed", configure())
    assert message.startswith(f"{OPTION} is about systems that boot over the network: import ")


def test_it_takes_a_stage_1_with_systemd(systems: Systems) -> None:
    failed = systems.evaluate("failed", configure(systemd=False))
    assert f'{OPTION} = "http" needs a stage 1 with systemd: set boot.initrd.systemd.enable' in failed


def test_what_is_kept_is_what_stage_1_fetches(systems: Systems) -> None:
    options = {"enable": True, "storeCache": "/dev/disk/by-partlabel/x"}
    failed = systems.evaluate("failed", {"services": {"every-channel": {"runner": options}}})
    assert failed == [
        f'{OPTION}Cache keeps what stage 1 fetches: set {OPTION} = "http", or leave it out',
    ]


EXTENDED = """host: let
  inherit (host.extendModules { modules = [ {
    services.every-channel.runner.store = "http";
    services.every-channel.runner.storeCache = CACHE;
    boot.initrd.systemd.enable = true;
  } ]; }) config;
  initrd = config.boot.initrd;
in {
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
  unit = initrd.systemd.units."every-channel-store.service".text;
  inherit (config.fileSystems."/nix/.ro-store") device fsType options;
  modules = initrd.availableKernelModules;
  environment = initrd.systemd.services.every-channel-store.environment;
  hasChunks = config.system.build ? storeChunks;
  network = initrd.systemd.network.networks."90-every-channel-store".networkConfig.DHCP;
}"""


# The publisher's is no runner.
@pytest.mark.parametrize("name", ["ec-runner-x86_64-netboot", "ec-publisher-x86_64-netboot"])
def test_stage_1_fetches_it_before_it_is_mounted(nixpkgs: Path, name: str) -> None:
    host = evaluate(
        installable=f"{ROOT}#nixosConfigurations.{name}",
        apply=EXTENDED.replace("CACHE", "null"),
        override_inputs={"nixpkgs": f"path:{nixpkgs}"},
    )
    assert host["failed"] == []
    assert (host["device"], host["fsType"]) == ("/run/every-channel/store/image", "squashfs")
    assert "loop" in host["options"]
    assert {"virtio_net", "igb", "r8169", "squashfs"} <= set(host["modules"])
    assert host["network"] == "yes"
    lines = host["unit"].splitlines()
    assert "Before=sysroot-nix-.ro\\x2dstore.mount" in lines
    assert "DefaultDependencies=false" in lines
    assert "TimeoutStartSec=infinity" in lines
    assert host["environment"]["CACHE"] == ""
    assert not host["hasChunks"]


def test_a_disk_is_read_where_the_image_stands_on_it(nixpkgs: Path) -> None:
    host = evaluate(
        installable=f"{ROOT}#nixosConfigurations.ec-runner-x86_64-netboot",
        apply=EXTENDED.replace("CACHE", '"/dev/disk/by-partlabel/x"'),
        override_inputs={"nixpkgs": f"path:{nixpkgs}"},
    )
    assert host["failed"] == []
    assert (host["device"], host["fsType"]) == ("/run/every-channel/store/device", "squashfs")
    assert "loop" not in host["options"]
    assert "x-initrd.mount" in host["options"]
    assert host["environment"]["CACHE"] == "/dev/disk/by-partlabel/x"
    assert host["environment"]["CHUNKS"] == "/every-channel-store.chunks"
    assert host["hasChunks"]
