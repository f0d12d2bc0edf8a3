"""The flake's own VM tests, as far as can be told without running them: machines, scripts, the listing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.checks.vmtest import Source, find_tests, probe_nix
from pynix_eval_shim import Nix, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.nix

ROOT = Path(__file__).parents[2]
# Test → machine → the specialisations that its script goes over to.
MACHINES: dict[str, dict[str, list[str]]] = {
    "forge": {"forge": []},
    "ipxe-qemu": {"host": ["disabled"]},
    "netboot": {"boot": ["disabled", "next", "proxy"], "client": [], "router": ["network-boot"]},
    "node": {"machine": ["disabled"], "publisher": []},
    "runner": {"scripted": [], "systemd": []},
}
# Test → what its script looks for in logs, and the program that says it.
SAID = {
    "forge": {"EC-GUEST-UP": "ectools/demo/init.sh"},
    "ipxe-qemu": {
        "EC-GUEST-UP": "ectools/demo/init.sh",
        "asked the guest to power itself down": "ectools/vm/stop.py",
        "told QEMU to quit": "ectools/vm/stop.py",
        "sent QEMU SIG": "ectools/vm/stop.py",
    },
    "netboot": {
        "EC-GUEST-UP": "ectools/demo/init.sh",
        "TFTP has sent a file": "ectools/netboot/dnsmasq/events.py",
        "a node has everything it boots from": "ectools/netboot/server/boot_tracker.py",
        "X-Boot-Token": "ectools/netboot/boot_files/scripts/fetching.py",
    },
}

TESTS = """
{ root, nixpkgs }:
let
  pkgs = import nixpkgs { system = "x86_64-linux"; };
  inherit (pkgs) lib;
  tests = import (root + "/nix/tests") {
    inherit pkgs;
    self.nixosModules = import (root + "/nix/nixos-modules.nix");
    # A tree that only evaluates does not hand its platform on to the nodes.
    extra = lib.optionalAttrs (builtins.pathExists (nixpkgs + "/nixos-module.nix")) {
      defaults.nixpkgs.hostPlatform = "x86_64-linux";
    };
  };
  describe = config: {
    failed = map (each: each.message) (builtins.filter (each: !each.assertion) config.assertions);
    inherit (config) warnings;
    units = builtins.filter (lib.hasPrefix "every-channel") (builtins.attrNames config.systemd.services);
  };
in
lib.mapAttrs' (name: test: lib.nameValuePair (lib.removePrefix "vm-" name) {
  script = builtins.unsafeDiscardStringContext test.config.testScriptString;
  machines = builtins.mapAttrs (_: node: {
    # What the script calls it.
    inherit (node.system) name;
    base = describe node;
    specialisations = builtins.mapAttrs (_: each: describe each.configuration) node.specialisation;
  }) test.nodes;
}) tests
"""


@pytest.fixture(scope="module")
def found(nixpkgs: Path, nix_env: Mapping[str, str]) -> dict[str, Any]:
    data = {"root": str(ROOT), "nixpkgs": str(nixpkgs)}
    value: dict[str, Any] = evaluate(TESTS, data=data, impure=True, nix=Nix(env=nix_env, offline=True))
    return value


def test_the_tests_are_these(found: dict[str, Any]) -> None:
    machines = {
        name: {machine: sorted(node["specialisations"]) for machine, node in test["machines"].items()}
        for name, test in found.items()
    }
    assert machines == MACHINES


@pytest.mark.parametrize("name", MACHINES)
def test_the_machines_hold_their_assertions_without_a_warning(name: str, found: dict[str, Any]) -> None:
    for machine, node in found[name]["machines"].items():
        for which, config in {"": node["base"], **node["specialisations"]}.items():
            assert (config["failed"], config["warnings"]) == ([], []), (machine, which)


@pytest.mark.parametrize("name", ["ipxe-qemu", "netboot", "node"])
def test_what_is_disabled_has_no_unit(name: str, found: dict[str, Any]) -> None:
    (node,) = [node for node in found[name]["machines"].values() if "disabled" in node["specialisations"]]
    assert node["base"]["units"]
    assert node["specialisations"]["disabled"]["units"] == []


def test_the_scripts_pass_the_driver_s_own_checks(
    found: dict[str, Any], nixpkgs: Path, tmp_path: Path
) -> None:
    """Before it starts a machine, the driver runs mypy and pyflakes over the script; ruff knows the rules."""
    library = nixpkgs / "nixos/lib"
    declarations = (library / "test-script-prepend.py").read_text()
    typed, plain, names = tmp_path / "typed", tmp_path / "plain", {"subtest", "machine", "start_all"}
    typed.mkdir()
    plain.mkdir()
    for name, test in found.items():
        machines = [node["name"] for node in test["machines"].values()]
        # What the driver calls the only machine of a test too.
        machines += ["machine"] if len(machines) == 1 and machines != ["machine"] else []
        types = "".join(f"{machine}: Machine\n" for machine in machines)
        names.update(machines)
        file = f"{name.replace('-', '_')}.py"
        (typed / file).write_text(f"{declarations}\n{types}{test['script']}")
        (plain / file).write_text(test["script"])
    silent = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    for argv in (
        ["mypy", "--no-implicit-optional", *silent, *map(str, typed.iterdir())],
        [
            "ruff",
            "check",
            "--isolated",
            "--select=F",
            f"--config=builtins={json.dumps(sorted(names))}",
            "plain",
        ],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *argv],
            env={**os.environ, "MYPYPATH": str(library / "test-driver")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SAID)
def test_what_the_script_waits_for_is_what_the_programs_say(name: str, found: dict[str, Any]) -> None:
    for words, program in SAID[name].items():
        assert words in found[name]["script"]
        assert words in (ROOT / program).read_text(), program


def test_they_are_listed_and_say_whether_they_can_run_here(nixpkgs: Path, nix_env: Mapping[str, str]) -> None:
    nix = Nix(env=nix_env, offline=True)
    source = Source(
        flake=f"git+file://{ROOT}",
        system="x86_64-linux",
        override_inputs={"nixpkgs": f"path:{nixpkgs}"},
        nix=nix,
    )
    tests = find_tests(source, probe_nix(source))
    assert [test.name for test in tests] == [f"vm-{name}" for name in MACHINES]
    for test in tests:
        assert test.broken is None
        assert sorted(test.nodes) == sorted(MACHINES[test.name.removeprefix("vm-")])
        assert 900 <= test.seconds <= 7200
        placeholder = "nixos-test" not in (test.features or ())
        assert placeholder == ("placeholder" in (test.obstacle or ""))
