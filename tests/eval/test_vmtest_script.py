"""The script of the VM test ipxe-qemu on a real systemd: each of its steps does what it says.

The driver's `host` is a machine that has gone over to the node's unit, settings, user and folders.
What stands in is the switch to the specialisation, because another distribution has none (support/switch.py).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.activation import SWITCH, Hosts
from support.guests import require_qemu, stage
from support.machine import Machine
from support.machine_image import find_image
from support.machine_nspawn import boot_nspawn
from support.machine_store import build_store
from support.switch import NOTHING

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
  inherit (host.systemd.units."every-channel-ipxe-qemu.service") unit wantedBy;
  rules = builtins.head (
    builtins.filter (
      package: package.name == "10-every-channel-ipxe-qemu.conf"
    ) host.systemd.tmpfiles.packages
  );
in
{
  script = builtins.unsafeDiscardStringContext test.config.testScriptString;
  built = pkgs.writeText "host.json" (builtins.toJSON {
    units."every-channel-ipxe-qemu.service" = {
      inherit wantedBy;
      file = "${unit}/every-channel-ipxe-qemu.service";
      requiredBy = [ ];
    };
    etc."every-channel/ipxe-qemu.json" = "${host.environment.etc."every-channel/ipxe-qemu.json".source}";
    tmpfiles = [ "${rules}/lib/tmpfiles.d/${rules.name}" ];
    users.every-channel-ipxe-qemu = {
      group = "every-channel-ipxe-qemu";
      extraGroups = [ ];
    };
    groups = [ "every-channel-ipxe-qemu" ];
    kernelModules = [ ];
    tools = "${host.services.every-channel.toolsPackage}";
  });
}
"""


@dataclass(frozen=True)
class Host:
    """The driver's machine, as far as the script uses it (nixos/lib/test-driver)."""

    machine: Machine

    def execute(self, command: str) -> tuple[bool, str]:
        done = self.machine.run("bash", "-c", f"set -euo pipefail; ({command}) 2>&1 && echo :yes || echo :no")
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
        return self.machine.run("journalctl", "--unit", UNIT, "--no-pager")[-6000:]


@dataclass(frozen=True)
class Node:
    """The node of the test: its script, and what its host brings, built."""

    script: str
    hosts: Hosts


@pytest.fixture(scope="module")
def node(nixpkgs: Path, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Node:
    require_qemu()
    payload = stage(tmp_path_factory.mktemp("payload") / "root")
    data = {"root": str(ROOT), "nixpkgs": str(nixpkgs), "payload": str(payload)}
    nix = Nix(env=nix_env, offline=True)
    script = evaluate(NODE, data=data, apply="t: t.script", impure=True, nix=nix)
    built = build(f"args: (({NODE}) args).built", data=data, impure=True, nix=nix)
    path = Path(built[0].outputs["out"])
    return Node(script, Hosts(path, {"host": json.loads(path.read_text())}))


@pytest.fixture
def host(node: Node, nix_env: Mapping[str, str], tmp_path: Path) -> Iterator[Host]:
    store = build_store(tmp_path, [node.hosts.path], nix_env)
    with boot_nspawn(tmp_path, find_image(), store) as machine:
        tools = node.hosts.named["host"]["tools"]
        machine.run("ln", "-s", f"{tools}/bin/{UNIT}", f"/usr/bin/{UNIT}")
        machine.write("/usr/lib/switch.py", SWITCH.read_text())
        machine.write("/usr/lib/off.json", json.dumps(NOTHING))
        specialisation = "/run/current-system/specialisation/disabled/bin/switch-to-configuration"
        script = "#!/bin/sh\npython3 /usr/lib/switch.py </usr/lib/off.json\n"
        machine.write(specialisation, script, mode="0755")
        node.hosts.activate(machine, "host")
        yield Host(machine)


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
