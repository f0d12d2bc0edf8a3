"""The scripts of VM tests with one machine, on a real systemd: each of their steps does what it says.

The driver's machine is one here that goes over to the node's units, settings, users and directories.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.activation import Hosts
from support.guests import require_qemu, stage
from support.machine_image import find_image
from support.machine_nspawn import boot_nspawn
from support.machine_store import build_store
from support.vm_driver import SystemdMachine, run_test_script

from pynix_eval_shim import Nix, build, evaluate

pytestmark = [pytest.mark.nix, pytest.mark.qemu]

ROOT = Path(__file__).parents[2]

NODE = """
{ root, nixpkgs, name, service, machine, arguments, options }:
let
  pkgs = import nixpkgs { system = "x86_64-linux"; };
  inherit (pkgs) lib;
  toolsPackage = pkgs.callPackage (root + "/nix/package.nix") { };
  test = pkgs.testers.runNixOSTest {
    imports = [
      (import (root + "/nix/tests/${name}.nix") (
        { module = root + "/nix/modules/ec-${service}.nix"; } // arguments
      ))
      {
        nodes.${machine} = {
          imports = [ (root + "/nix/modules/tools.nix") ];
          # One for all systems, whatever becomes of the sources meanwhile.
          services.every-channel = { inherit toolsPackage; };
        };
      }
      # A tree of placeholders hands its platform on to no node, and its packages lack what theirs have.
      (lib.optionalAttrs (builtins.pathExists (nixpkgs + "/nixos-module.nix")) {
        defaults.nixpkgs.hostPlatform = "x86_64-linux";
        nodes.${machine}.services.every-channel.${service} = lib.mapAttrsRecursive (_: lib.mkForce) options;
      })
    ];
  };
  node = test.nodes.${machine};
  describe = config: import (root + "/tests/eval/described.nix") { inherit config lib; };
in
{
  script = builtins.unsafeDiscardStringContext test.config.testScriptString;
  hosts = pkgs.writeText "hosts.json" (
    builtins.toJSON (
      builtins.mapAttrs (_: each: describe each.configuration) node.specialisation
      // {
        "" = describe node;
        tools = "${toolsPackage}";
      }
    )
  );
}
"""


@dataclass(frozen=True)
class Case:
    """``options`` of the service replace the node's where packages are placeholders.

    ``files`` are what the whole host's tmpfiles rules would make: path → text.
    """

    machine: str
    service: str
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


# The node's has two machines: the driver runs it (tests/systems/test_nixos_driver.py).
CASES = {
    "ipxe-qemu": Case("host", "ipxe-qemu", options={"boot": {"userNet": {"bootFile": None}}}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_script_holds_on_a_real_systemd(
    name: str,
    nixpkgs: Path,
    nix_env: Mapping[str, str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    require_qemu()
    case = CASES[name]
    payload = {"demoPayload": str(stage(tmp_path_factory.mktemp("payload") / "root"))}
    data = {
        "root": str(ROOT),
        "nixpkgs": str(nixpkgs),
        "name": name,
        "service": case.service,
        "machine": case.machine,
        "arguments": payload if name == "ipxe-qemu" else {},
        "options": dict(case.options),
    }
    nix = Nix(env=nix_env, offline=True)
    script = evaluate(NODE, data=data, apply="t: t.script", impure=True, nix=nix)
    (built,) = build(f"args: (({NODE}) args).hosts", data=data, impure=True, nix=nix)
    path = Path(built.outputs["out"])
    named = json.loads(path.read_text())
    store = build_store(tmp_path, [path], nix_env)
    with boot_nspawn(tmp_path, find_image(), store) as machine:
        for file, text in case.files.items():
            machine.write(file, text, mode="0600")
        for program in ("ectools", "every-channel-ipxe-qemu"):
            machine.run("ln", "-s", f"{named['tools']}/bin/{program}", f"/usr/bin/{program}")
        node = SystemdMachine(machine, Hosts(path, named))
        node.activate("")
        run_test_script(script, {case.machine: node}, node.report)
