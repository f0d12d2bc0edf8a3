"""The flake's own VM test, as far as can be told without running it: its host, its script, its listing."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.checks.vmtest import Source, find_tests, probe_nix
from pynix_eval_shim import Nix, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.nix

ROOT = Path(__file__).parents[2]

TEST = """
{ root, nixpkgs }:
let
  pkgs = import nixpkgs { system = "x86_64-linux"; };
  inherit (pkgs) lib;
  test = pkgs.testers.runNixOSTest {
    imports = [
      (import (root + "/nix/tests/ipxe-qemu.nix") {
        module = root + "/nix/modules/ec-ipxe-qemu.nix";
        demoPayload = pkgs.callPackage (root + "/nix/demo-payload.nix") { };
      })
      # A tree that only evaluates does not hand its platform on to the nodes.
      (lib.optionalAttrs (builtins.pathExists (nixpkgs + "/nixos-module.nix")) {
        defaults.nixpkgs.hostPlatform = "x86_64-linux";
      })
    ];
  };
  inherit (test.nodes) host;
  disabled = host.specialisation.disabled.configuration;
in
{
  script = builtins.unsafeDiscardStringContext test.config.testScriptString;
  failed = map (each: each.message) (builtins.filter (each: !each.assertion) host.assertions);
  settings = builtins.removeAttrs host.services.every-channel.ipxe-qemu [ "package" ];
  units = map (config: config.systemd.services ? every-channel-ipxe-qemu) [ host disabled ];
  memory = host.virtualisation.memorySize;
}
"""


@pytest.fixture(scope="module")
def found(nixpkgs: Path, nix_env: Mapping[str, str]) -> dict[str, Any]:
    data = {"root": str(ROOT), "nixpkgs": str(nixpkgs)}
    value: dict[str, Any] = evaluate(TEST, data=data, impure=True, nix=Nix(env=nix_env, offline=True))
    return value


def test_the_host_holds_its_assertions_and_has_the_unit_until_it_is_disabled(found: dict[str, Any]) -> None:
    assert found["failed"] == []
    assert found["units"] == [True, False]
    assert found["settings"]["machine"] == "q35,accel=tcg"
    assert found["settings"]["memoryMiB"] < found["memory"]


def test_the_script_is_python_that_calls_what_the_driver_has(found: dict[str, Any], nixpkgs: Path) -> None:
    tree = ast.parse(found["script"])
    called = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "host"
    }
    assert {"wait_until_succeeds", "succeed", "fail"} <= called
    driver = "".join(path.read_text() for path in (nixpkgs / "nixos/lib/test-driver").rglob("*.py"))
    assert [name for name in sorted(called) if f"def {name}(" not in driver] == []


def test_what_the_script_waits_for_is_what_the_programs_say(found: dict[str, Any]) -> None:
    init = (ROOT / "ectools/demo/init.sh").read_text()
    assert "EC-GUEST-UP vm-test" in found["script"]
    assert 'echo "EC-GUEST-UP $mark$addresses"' in init
    stop = (ROOT / "ectools/vm/stop.py").read_text()
    for words in ("asked the guest to power itself down", "told QEMU to quit", "sent QEMU SIG"):
        assert words in stop
        assert words in found["script"]


def test_it_is_listed_and_says_whether_it_can_run_here(nixpkgs: Path, nix_env: Mapping[str, str]) -> None:
    nix = Nix(env=nix_env, offline=True)
    source = Source(
        flake=f"git+file://{ROOT}",
        system="x86_64-linux",
        override_inputs={"nixpkgs": f"path:{nixpkgs}"},
        nix=nix,
    )
    (test,) = find_tests(source, probe_nix(source), ["ipxe-qemu"])
    assert test.broken is None
    assert test.memory_mib == 2048
    assert test.seconds == 1800
    placeholder = "nixos-test" not in (test.features or ())
    assert placeholder == ("placeholder" in (test.obstacle or ""))
