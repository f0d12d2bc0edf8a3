"""The script of the VM test ipxe-qemu on a real systemd: each of its steps does what it says.

The driver's `host` is a container of this machine, with the node's unit, settings, user and folders in it.
What stands in is the switch to the specialisation, because another distribution has none.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.container import Container, boot_container, find_packages, set_up_service
from support.guests import require_qemu, stage

from pynix_eval_shim import Nix, build, evaluate

pytestmark = [pytest.mark.nix, pytest.mark.qemu, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
UNIT = "every-channel-ipxe-qemu"

NODE = """
{ root, nixpkgs, payload }:
let
  pkgs = import nixpkgs { system = "x86_64-linux"; };
  inherit (pkgs) lib;
  test = pkgs.testers.runNixOSTest {
    imports = [
      (import (root + "/nix/tests/ipxe-qemu.nix") {
        module = root + "/nix/modules/ec-ipxe-qemu.nix";
        demoPayload = payload;
      })
      # A tree of placeholders hands its platform on to no node, and has no iPXE to embed a script in.
      (lib.optionalAttrs (builtins.pathExists (nixpkgs + "/nixos-module.nix")) {
        defaults.nixpkgs.hostPlatform = "x86_64-linux";
        nodes.host.services.every-channel.ipxe-qemu.boot.userNet.bootFile = lib.mkForce null;
      })
    ];
  };
  inherit (test.nodes) host;
in
{
  script = builtins.unsafeDiscardStringContext test.config.testScriptString;
  rules = host.systemd.tmpfiles.settings."10-every-channel-ipxe-qemu";
  built = {
    unit = host.systemd.units."every-channel-ipxe-qemu.service".unit;
    settings = host.environment.etc."every-channel/ipxe-qemu.json".source;
    tools = host.services.every-channel.toolsPackage;
  };
}
"""

SWITCH = f"""#!/bin/sh
set -e
systemctl stop {UNIT}.service
umount /etc/systemd/system/{UNIT}.service
rm /etc/systemd/system/{UNIT}.service /etc/every-channel/ipxe-qemu.json
rm -r /run/systemd/system/{UNIT}.service.d
systemctl daemon-reload
"""


@dataclass(frozen=True)
class Host:
    """The driver's machine, as far as the script uses it (nixos/lib/test-driver)."""

    container: Container

    def execute(self, command: str) -> tuple[bool, str]:
        done = self.container.run(
            "bash", "-c", f"set -euo pipefail; ({command}) 2>&1 && echo :yes || echo :no"
        )
        output, _, verdict = done.rpartition(":")
        return verdict == "yes\n", output

    def succeed(self, command: str) -> str:
        fine, output = self.execute(command)
        assert fine, f"{command}:\n{output}"
        return output

    def fail(self, command: str) -> str:
        fine, output = self.execute(command)
        assert not fine, f"{command}: unexpectedly succeeded:\n{output}"
        return output

    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str:
        deadline = time.monotonic() + timeout
        while True:
            fine, output = self.execute(command)
            if fine:
                return output
            assert time.monotonic() < deadline, f"{command}: not within {timeout} s\n{self.journal()}"
            time.sleep(0.5)

    def wait_for_unit(self, unit: str) -> None:
        self.wait_until_succeeds(f"systemctl is-active {unit}")

    def journal(self) -> str:
        return self.container.run("journalctl", "--unit", UNIT, "--no-pager")[-6000:]


@dataclass(frozen=True)
class Node:
    """The node of the test, built: its script, its folders' rules, and paths in the store by name."""

    script: str
    rules: Mapping[str, Any]
    built: Mapping[str, Path]


@pytest.fixture(scope="module")
def node(nixpkgs: Path, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Node:
    require_qemu()
    payload = stage(tmp_path_factory.mktemp("payload") / "root")
    data = {"root": str(ROOT), "nixpkgs": str(nixpkgs), "payload": str(payload)}
    nix = Nix(env=nix_env, offline=True)
    parts = evaluate(NODE, data=data, apply="t: { inherit (t) script rules; }", impure=True, nix=nix)
    built = {
        name: Path(
            build(f"args: (({NODE}) args).built.{name}", data=data, impure=True, nix=nix)[0].outputs["out"]
        )
        for name in ("unit", "settings", "tools")
    }
    return Node(parts["script"], parts["rules"], built)


@pytest.fixture
def host(node: Node, tmp_path: Path) -> Iterator[Host]:
    places = {
        Path("/nix/store"): "/nix/store",
        **find_packages(),
        node.built["unit"] / f"{UNIT}.service": f"/etc/systemd/system/{UNIT}.service",
    }
    with boot_container(tmp_path, read_only=places) as container:
        container.run("mkdir", "-p", "/etc/every-channel")
        container.run("cp", str(node.built["settings"]), "/etc/every-channel/ipxe-qemu.json")
        container.run("ln", "-s", f"{node.built['tools']}/bin/{UNIT}", f"/usr/bin/{UNIT}")
        switch = "/run/current-system/specialisation/disabled/bin/switch-to-configuration"
        container.run("mkdir", "-p", os.path.dirname(switch))
        container.run("tee", switch, stdin=SWITCH)
        container.run("chmod", "+x", switch)
        set_up_service(container, UNIT, node.rules)
        container.run("systemctl", "start", "--no-block", UNIT)
        yield Host(container)


def test_the_script_holds_on_a_real_systemd(node: Node, host: Host) -> None:
    passed: list[str] = []

    @contextlib.contextmanager
    def subtest(name: str) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}\n{host.journal()}") from error
        passed.append(name)

    exec(compile(node.script, "testScript", "exec"), {"host": host, "subtest": subtest})
    assert len(passed) == node.script.count("with subtest(")
    assert len(passed) > 4
